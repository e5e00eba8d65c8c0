//! The pages of the console, as people see them: nothing is stopped on any, and pictures of them.

use std::path::PathBuf;

use super::{page::Browser, pictures::pictures};
use crate::suite::sso::Scene;

/// What has a picture: few, so that each one is looked at.
const PAGES: [(&str, &str); 5] = [
    ("inbox", "/"),
    ("plan", "/plans/PLAN"),
    ("request", "/holds/HOLD"),
    ("runs", "/runs"),
    ("ledger", "/ledger"),
];
/// What else is opened.
const OTHERS: [&str; 10] = [
    "/sign-in",
    "/reviews",
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
    let (_, waits) = scene.stage.propose("sleeper").await;
    let (_, ran) = scene.stage.propose("worker").await;
    scene.stage.ended(ran["id"].as_str().unwrap()).await;
    let browser = scene.signed_in("sub-ada").await;
    let ids = [&waits["id"], &waits["hold"]].map(|id| id.as_str().unwrap().to_owned());
    (scene, browser, ids)
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

/// Kept where `HOLDPOINT_PICTURES` says, which `cargo xtask screenshots` sets.
#[tokio::test]
async fn pictures_of_the_console() {
    let (scene, browser, ids) = toured().await;
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
