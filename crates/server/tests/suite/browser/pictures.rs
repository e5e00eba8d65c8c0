//! Pictures of pages: each at the width of a desk and of a telephone, light and dark.

use std::path::{Path, PathBuf};

use super::page::Browser;

/// The views, in CSS pixels, with the height that a picture has at most: what is below is left out.
const VIEWS: [(&str, u32, u32, u32); 2] = [("wide", 1280, 800, 1600), ("narrow", 380, 760, 2000)];
const SCHEMES: [&str; 2] = ["light", "dark"];
/// Most bytes of a picture, so that the repository does not grow with each look at a page.
pub(crate) const MAX_PICTURE_LEN: usize = 400 * 1024;

/// Takes pictures of pages, `(name, path)` below `origin`, into `folder`: `name-wide-light.png` and the like. The browser is
/// signed in already, where the pages need it.
pub(crate) async fn pictures(
    browser: &Browser,
    origin: &str,
    pages: &[(&str, &str)],
    folder: &Path,
) -> Vec<PathBuf> {
    let mut taken = Vec::new();
    for (name, path) in pages {
        for (view, width, height, most) in VIEWS {
            for scheme in SCHEMES {
                browser.resize(width, height).await;
                browser.prefer(scheme).await;
                browser.goto(&format!("{origin}{path}")).await;
                let file = folder.join(format!("{name}-{view}-{scheme}.png"));
                let len = browser.picture(most, &file).await;
                assert!(len <= MAX_PICTURE_LEN, "{} has {len} bytes", file.display());
                taken.push(file);
            }
        }
    }
    taken
}
