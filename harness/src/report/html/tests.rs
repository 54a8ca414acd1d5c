use super::*;
use crate::report::fixture;

#[test]
fn the_page_renders() {
    let html = render(&fixture::report()).unwrap_or_else(|e| panic!("{e}"));
    if let Some(path) = std::env::var_os("QA_KEEP_HTML") {
        std::fs::write(path, &html).expect("writes the page");
    }
    assert!(html.starts_with("<!DOCTYPE html>"));
}
