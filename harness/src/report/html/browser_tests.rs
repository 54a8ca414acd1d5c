//! The page in a real browser: it loads from a file without a word on the console or a request to anywhere, and fits
//! every screen in both themes and on paper.

use super::devtools::Browser;
use super::render;
use crate::report::fixture;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

struct Page {
    browser: Browser,
    url: String,
    _folder: tempfile::TempDir,
}

/// A way of looking at the page.
#[derive(Clone, Copy, Debug)]
struct Look {
    width: u32,
    media: &'static str,
    /// `light`, `dark`, or `forced` for a system that forces its own high contrast.
    scheme: &'static str,
}

const LOOKS: [Look; 8] = [
    Look { width: 390, media: "screen", scheme: "light" },
    Look { width: 390, media: "screen", scheme: "dark" },
    Look { width: 820, media: "screen", scheme: "light" },
    Look { width: 820, media: "screen", scheme: "dark" },
    Look { width: 1280, media: "screen", scheme: "light" },
    Look { width: 1280, media: "screen", scheme: "dark" },
    Look { width: 1280, media: "screen", scheme: "forced" },
    // A4 less its margins, at 96 dots an inch.
    Look { width: 720, media: "print", scheme: "light" },
];

impl Page {
    /// `None`, said aloud, where there is no browser.
    fn open(html: &str) -> Option<Self> {
        let Some(browser) = Browser::start() else {
            println!("skipped: no chromium on the PATH and no QA_CHROMIUM; the page was not opened in a browser");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("report.html");
        fs::write(&file, html).expect("writes the page");
        Some(Self { browser, url: format!("file://{}", file.display()), _folder: folder })
    }

    fn look(&mut self, look: Look) {
        let Look { width, media, scheme } = look;
        let metrics = json!({ "width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.browser.call("Emulation.setDeviceMetricsOverride", &metrics);
        let (scheme, forced) = if scheme == "forced" { ("dark", "active") } else { (scheme, "none") };
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "forced-colors", "value": forced },
        ]);
        self.browser.call("Emulation.setEmulatedMedia", &json!({ "media": media, "features": features }));
        let url = self.url.clone();
        self.browser.open(&url);
    }

    fn number(&mut self, expression: &str) -> f64 {
        let value = self.browser.evaluate(expression);
        value.as_f64().unwrap_or_else(|| panic!("{expression} is {value}, not a number"))
    }

    /// Elements that reach beyond the width, when the page does: none has to be scrolled to from side to side.
    fn sticking_out(&mut self, width: u32) -> Value {
        self.browser.evaluate(&format!(
            "document.documentElement.scrollWidth <= {width} ? [] :
             [...document.body.querySelectorAll('*')].filter(e => !e.closest('.scroll') && e.getBoundingClientRect().right > {width})
                 .map(e => e.outerHTML.slice(0, 90)).slice(0, 8)"
        ))
    }

    /// What the page said and asked for.
    fn noise(&self) -> Vec<String> {
        let url = &self.url;
        let noise = |event: &Value| match event["method"].as_str() {
            Some("Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded") => {
                Some(event["params"].to_string())
            }
            Some("Network.requestWillBeSent") => {
                let asked = event["params"]["request"]["url"].as_str().unwrap_or_default();
                (asked != url && !asked.starts_with("data:")).then(|| format!("asked for {asked}"))
            }
            _ => None,
        };
        self.browser.events.iter().filter_map(noise).collect()
    }

    /// Keep a picture where `QA_SCREENSHOTS` says.
    fn keep_picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("QA_SCREENSHOTS").map(PathBuf::from) else { return };
        let shot = self.browser.call("Page.captureScreenshot", &json!({ "captureBeyondViewport": true }));
        let data = shot["data"].as_str().expect("a picture");
        fs::write(folder.join(format!("{name}.png.base64")), data).expect("writes the picture");
    }
}

#[test]
fn the_page_is_quiet_and_fits_every_screen() {
    let html = render(&fixture::report()).expect("renders");
    let Some(mut page) = Page::open(&html) else { return };
    for look in LOOKS {
        page.look(look);
        assert_eq!(page.sticking_out(look.width), json!([]), "{look:?}");
        let headline = page.number("document.querySelector('h1').getBoundingClientRect().bottom");
        assert!(headline < 400.0, "{look:?}: the verdict ends at {headline} pixels");
        page.keep_picture(&format!("{}-{}-{}", look.width, look.media, look.scheme));
        assert_eq!(page.noise(), Vec::<String>::new(), "{look:?}");
    }
}

#[test]
fn hostile_text_neither_runs_nor_breaks_the_page() {
    let long_word = "x".repeat(300);
    for hostile in fixture::HOSTILE.iter().copied().chain([long_word.as_str()]) {
        let html = render(&fixture::hostile(hostile)).expect("renders");
        let Some(mut page) = Page::open(&html) else { return };
        page.look(LOOKS[0]);
        assert_eq!(page.noise(), Vec::<String>::new(), "{hostile:?}");
        assert!(page.number("document.scripts.length + document.images.length") < 0.5, "{hostile:?}");
        assert_eq!(page.sticking_out(LOOKS[0].width), json!([]), "{hostile:?}");
    }
}

#[test]
fn themes_follow_the_system_and_the_switch() {
    let html = render(&fixture::report()).expect("renders");
    let Some(mut page) = Page::open(&html) else { return };
    let ground = "getComputedStyle(document.body).backgroundColor";
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        page.look(Look { width: 1280, media: "screen", scheme });
        let system = page.browser.evaluate(ground);
        let other = if scheme == "light" { "dark" } else { "light" };
        let switched = page.browser.evaluate(&format!("document.getElementById('theme-{other}').click(); {ground}"));
        assert_ne!(system, switched, "the switch overrides {scheme}");
        grounds.push(system);
    }
    assert_ne!(grounds[0], grounds[1]);
}

#[test]
fn paper_shows_what_the_screen_folds() {
    let html = render(&fixture::report()).expect("renders");
    let Some(mut page) = Page::open(&html) else { return };
    let folded = "document.querySelector('.card:not([open]) .reason').checkVisibility()";
    page.look(LOOKS[4]);
    assert_eq!(page.browser.evaluate(folded), json!(false));
    page.look(LOOKS[7]);
    assert_eq!(page.browser.evaluate(folded), json!(true));
}

/// A wide matrix is a page too: what passed has no plots there, and what did not keeps them. The bars are on what a browser
/// has to read, since how fast it reads is the business of the machine.
#[test]
fn a_thousand_claims_are_a_page_too() {
    let mut report = fixture::report();
    let one = report.entries.iter().find(|entry| entry.id == "POINT-41").cloned().expect("a measured claim");
    let failed = report.entries.iter().find(|entry| entry.id == "POINT-43").cloned().expect("a failed claim");
    let id = |n: usize| format!("POINT-{n}");
    report.entries = (0..1000).map(|n| crate::report::model::EntryResult { id: id(n), ..one.clone() }).collect();
    report.entries.push(crate::report::model::EntryResult { id: "LAST".into(), ..failed });
    let html = render(&report).expect("renders");
    assert!(html.len() < 6_000_000, "{} bytes", html.len());
    assert!(html.contains("There are 1001 entries"));
    assert_eq!(html.matches("Estimate and bounds as samples came in").count(), 1, "that of the one which failed");
    let Some(mut page) = Page::open(&html) else { return };
    page.look(LOOKS[4]);
    let nodes = page.number("document.querySelectorAll('*').length");
    let read_ms = page.number("document.documentElement.scrollHeight && performance.now()");
    println!("1001 claims: {} KB, {nodes} elements, loaded and laid out after {read_ms:.0} ms", html.len() / 1000);
    // Half a second to read and lay out for a browser that has a processor to itself.
    assert!(nodes < 90_000.0, "{nodes} elements");
    assert_eq!(page.sticking_out(LOOKS[4].width), json!([]));
}

#[test]
fn what_is_unticked_is_gone_and_what_did_not_pass_can_come_first() {
    let html = render(&fixture::report()).expect("renders");
    let Some(mut page) = Page::open(&html) else { return };
    for look in [LOOKS[0], LOOKS[4]] {
        page.look(look);
        let seen = "[...document.querySelectorAll('.results tbody')].filter(e => e.checkVisibility()).length";
        let (all, without) =
            (page.number(seen), page.number(&format!("document.getElementById('show-pass').click(); {seen}")));
        assert!(without < all, "{look:?}: {without} of {all}");
        let required = page.number(&format!("document.getElementById('only-required').click(); {seen}"));
        assert!(required < without, "{look:?}: {required} of {without}");
        page.browser
            .evaluate("document.getElementById('show-pass').click(), document.getElementById('order-worst').click()");
        let order = page.browser.evaluate(
            "[...document.querySelectorAll('.results tbody')].filter(e => e.checkVisibility())
                 .sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top).map(e => e.className.split(' ')[0])",
        );
        let order: Vec<&str> = order.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert_eq!((order.first(), order.last()), (Some(&"of-error"), Some(&"of-pass")), "{look:?}: {order:?}");
        assert_eq!(page.sticking_out(look.width), json!([]), "{look:?}");
        // Paper has every row, in the order in which it was written.
        page.browser.call("Emulation.setEmulatedMedia", &json!({ "media": "print" }));
        assert!((page.number(seen) - all).abs() < 0.5, "{look:?}");
    }
}

/// `QA_AXE` names a copy of axe-core's `axe.min.js`.
#[test]
fn an_accessibility_checker_finds_nothing() {
    let Some(axe) = std::env::var_os("QA_AXE") else {
        println!("skipped: QA_AXE does not name an axe.min.js");
        return;
    };
    let axe = fs::read_to_string(Path::new(&axe)).expect("reads axe-core");
    let html = render(&fixture::report()).expect("renders");
    let Some(mut page) = Page::open(&html) else { return };
    // Where the system forces its colours, it answers for their contrast, and axe-core cannot see them.
    for look in LOOKS.into_iter().filter(|look| look.scheme != "forced") {
        page.look(look);
        page.browser.evaluate(&axe);
        let violations = page.browser.evaluate(
            "axe.run().then(r => r.violations.map(v => v.id + ': ' + v.help + ' | ' + v.nodes.map(n => n.html).slice(0, 3).join(' | ')))",
        );
        assert_eq!(violations, json!([]), "{look:?}: {violations:#}");
    }
}
