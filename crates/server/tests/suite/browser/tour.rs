//! The pages of the console, as people see them: nothing is stopped on any, and pictures of them.

use std::path::PathBuf;

use super::{page::Browser, pictures::pictures};
use crate::suite::{console::scene::Console, sso::Scene, stage::Stage};

/// What has a picture: few, so that each one is looked at.
const PAGES: [(&str, &str); 5] = [
    ("inbox", "/"),
    ("plan", "/plans/PLAN"),
    ("request", "/holds/HOLD"),
    ("runs", "/runs"),
    ("ledger", "/ledger"),
];
/// What else is opened.
const OTHERS: [&str; 11] = [
    "/sign-in",
    "/reviews",
    "/brakes",
    "/leases",
    "/changes",
    "/agents",
    "/people",
    "/catalogue",
    "/policies",
    "/settings",
    "/figures",
];

/// A gate with a plan that waits, one that ran, and Ada's browser.
async fn toured() -> (Scene, Browser, [String; 2]) {
    let scene = Scene::start();
    let ids = asked(&scene.stage).await;
    let browser = scene.signed_in("sub-ada").await;
    (scene, browser, ids)
}

/// A plan that waits, and one that ran. Returns the id of the first, and of its hold.
async fn asked(stage: &Stage) -> [String; 2] {
    let (_, waits) = stage.propose("sleeper").await;
    let (_, ran) = stage.propose("worker").await;
    stage.ended(ran["id"].as_str().unwrap()).await;
    [&waits["id"], &waits["hold"]].map(|id| id.as_str().unwrap().to_owned())
}

#[tokio::test]
async fn t15_no_page_of_the_console_breaks_its_own_content_policy() {
    let (scene, browser, ids) = toured().await;
    for path in PAGES.iter().map(|(_, path)| *path).chain(OTHERS) {
        browser.goto(&format!("{}{}", scene.origin, named(path, &ids))).await;
        assert!(!browser.text("h1").await.is_empty(), "{path}");
        assert_eq!(browser.console().await, Vec::<String>::new(), "{path}");
    }
}

/// Kept where `HOLDPOINT_PICTURES` says, which `cargo xtask screenshots` sets. Ada and Ben have passkeys, as people have.
#[tokio::test]
async fn pictures_of_the_console() {
    let scene = Console::started();
    let (browser, other) = (Browser::start().await, Browser::start().await);
    let _ada = scene.person(&browser, "ada", "ben").await;
    let _ben = scene.person(&other, "ben", "ada").await;
    let ids = asked(&scene.stage).await;
    let dir = tempfile::tempdir().unwrap();
    let folder =
        std::env::var_os("HOLDPOINT_PICTURES").map_or_else(|| dir.path().to_path_buf(), PathBuf::from);
    let pages = PAGES.map(|(name, path)| (name, named(path, &ids)));
    let pages = pages.each_ref().map(|(name, path)| (*name, path.as_str()));
    let taken = pictures(&browser, &scene.origin, &pages, &folder).await;
    assert_eq!(taken.len(), 4 * PAGES.len());
}

fn named(path: &str, [plan, hold]: &[String; 2]) -> String {
    path.replace("PLAN", plan).replace("HOLD", hold)
}
