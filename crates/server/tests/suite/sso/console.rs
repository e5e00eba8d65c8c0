//! Single sign-on at the console of a real gate, with a real provider, in a real browser.

use reqwest::{
    Response, StatusCode,
    header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE},
};

use super::provider::{Provider, Walker};
use crate::suite::{browser::page::Browser, stage::Stage};

const SESSION: &str = "__Host-holdpoint";
const ATTEMPT: &str = "__Host-holdpoint-sign-in";
const BACK: &str = "/sign-in/oidc/callback";

/// A gate whose people sign in at a provider.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) origin: String,
    _provider: Provider,
}

impl Scene {
    pub(crate) fn start() -> Self {
        let mut stage = Stage::unmade();
        let origin = stage.url("").replace("127.0.0.1", "localhost");
        let provider = Provider::start(&format!("{origin}{BACK}"));
        let config = std::fs::read_to_string(stage.path("holdpoint.yaml")).unwrap();
        let console = format!(
            "console:\n  origin: {origin}\n  oidc:\n    issuer: {}\n    client_id: holdpoint-public\n    scopes: [groups]\n    \
             people: {{sub-ada: ada, sub-mallory: nobody}}\n",
            provider.issuer
        );
        stage.write("holdpoint.yaml", &format!("{config}{console}"));
        stage.made();
        stage.start();
        Self { stage, origin, _provider: provider }
    }

    /// The browser of somebody who signed in at their provider, by the account there.
    pub(crate) async fn signed_in(&self, login: &str) -> Browser {
        let browser = Browser::start().await;
        let (inbox, back) = (format!("{}/", self.origin), format!("{}{BACK}", self.origin));
        for _ in 0..5 {
            browser.goto(&inbox).await;
            browser.click("a[href^='/sign-in/oidc']").await;
            // Whom the provider knows from the last time, it does not ask.
            let asked = |url: &str| url.contains("/login/") || url == inbox || url.starts_with(&back);
            if browser.until_url("the provider", asked).await.contains("/login/") {
                browser.type_into("[name=login]", login).await;
                browser.click("form button").await;
            }
            if browser.until_url("back at the console", |url| url == inbox || url.starts_with(&back)).await
                == inbox
            {
                return browser;
            }
            // On a machine that is busy with other tests a provider may take too long to answer.
            assert!(browser.text("main").await.contains("does not answer"), "{}", browser.text("main").await);
        }
        panic!("the provider never answers");
    }

    /// A page, as a browser without a screen gets it, redirections and all.
    async fn get(&self, path: &str, cookie: &str) -> Response {
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let request = client.build().unwrap().get(self.stage.url(path)).header("accept", "text/html");
        request.header(COOKIE, cookie).send().await.unwrap()
    }

    /// Somebody without a screen is at the provider and signed in there: the attempt's cookie, and the way back.
    async fn away(&self, next: &str, login: &str) -> (String, String) {
        let left = self.get(&format!("/sign-in/oidc?next={next}"), "").await;
        assert_eq!(left.status(), StatusCode::SEE_OTHER);
        let cookie = set(left.headers(), ATTEMPT).unwrap();
        let location = left.headers()[LOCATION].to_str().unwrap();
        let query = Walker::new().sign_in(location, login).await;
        (cookie, format!("{BACK}?{query}"))
    }
}

/// What an answer sets a cookie to, with its name.
fn set(headers: &HeaderMap, name: &str) -> Option<String> {
    let pairs =
        headers.get_all(SET_COOKIE).iter().map(|set| set.to_str().unwrap().split(';').next().unwrap());
    pairs.filter(|pair| pair.split_once('=').unwrap().0 == name).map(str::to_owned).next()
}

#[tokio::test]
async fn a_person_signs_in_at_their_provider_and_sees_the_console() {
    let scene = Scene::start();
    let browser = scene.signed_in("sub-ada").await;
    let cookies = browser.cookies().await;
    let names: Vec<_> = cookies.iter().map(|cookie| cookie["name"].as_str().unwrap()).collect();
    assert_eq!(names, [SESSION], "the attempt's cookie is used up");
    assert_eq!((&cookies[0]["secure"], &cookies[0]["httpOnly"]), (&true.into(), &true.into()));
    assert_eq!(browser.console().await, Vec::<String>::new());
    assert!(scene.stage.log().contains("ada signed in by single sign-on"));
}

#[tokio::test]
async fn t10_t16_a_way_back_opened_in_another_browser_signs_nobody_in() {
    let scene = Scene::start();
    let (cookie, back) = scene.away("/", "sub-ada").await;
    let victim = Browser::start().await;
    victim.goto(&format!("{}{back}", scene.origin)).await;
    assert!(victim.text("main").await.contains("this browser did not ask to sign in"));
    assert!(victim.cookies().await.is_empty());

    // A victim who is on the way to the provider, too.
    let (other, _) = scene.away("/", "sub-ada").await;
    for cookie in ["", &other, &format!("{cookie}; {cookie}"), &format!("{ATTEMPT}=x")] {
        let answer = scene.get(&back, cookie).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{cookie}");
        assert_eq!(set(answer.headers(), SESSION), None);
        assert_eq!(set(answer.headers(), ATTEMPT).as_deref(), Some("__Host-holdpoint-sign-in="), "used up");
    }
    // Nothing of that used the code up: the browser that asked still gets in, and gets in once.
    let answer = scene.get(&back, &cookie).await;
    assert_eq!(
        (answer.status(), &answer.headers()[LOCATION]),
        (StatusCode::SEE_OTHER, &"/".parse().unwrap())
    );
    let session = set(answer.headers(), SESSION).unwrap();
    assert_eq!(scene.get("/", &session).await.status(), StatusCode::OK);
    let again = scene.get(&back, &cookie).await;
    assert_eq!((again.status(), set(again.headers(), SESSION)), (StatusCode::BAD_GATEWAY, None));
}

#[tokio::test]
async fn t16_the_way_on_is_of_the_console_and_strangers_have_none() {
    let scene = Scene::start();
    for (next, expected) in
        [("/holds/hold-1%3Fa=b", "/holds/hold-1?a=b"), ("//evil.example", "/"), ("https://evil.example", "/")]
    {
        let (cookie, back) = scene.away(next, "sub-ada").await;
        let answer = scene.get(&back, &cookie).await;
        assert_eq!(answer.headers()[LOCATION], expected, "{next}");
    }
    // Sound claims, and a name that the registry does not have.
    let (cookie, back) = scene.away("/", "sub-mallory").await;
    let answer = scene.get(&back, &cookie).await;
    assert_eq!((answer.status(), set(answer.headers(), SESSION)), (StatusCode::FORBIDDEN, None));
    let (code, state) = (field(&back, "code"), field(&back, "state"));
    let (secret, log) = (cookie.split_once('=').unwrap().1, scene.stage.log());
    for canary in [&code, &state, secret] {
        assert!(!log.contains(canary), "inv12: {canary} is in the log");
    }
}

fn field(back: &str, name: &str) -> String {
    let (_, rest) = back.split_once(&format!("{name}=")).unwrap();
    rest.split('&').next().unwrap().to_owned()
}
