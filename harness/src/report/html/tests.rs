use super::*;
use crate::report::fixture;
use std::collections::BTreeMap;
use std::fmt::Write as _;

fn page(report: &Report) -> String {
    render(report).unwrap_or_else(|e| panic!("{e}"))
}

/// The page's words in the order of reading: a line a text, headings marked.
fn skeleton(html: &str) -> String {
    let body = html.split_once("<body>").expect("a body").1;
    let mut out = String::new();
    let mut tag = "";
    for piece in body.split('<').skip(1) {
        let (markup, text) = piece.split_once('>').expect("a tag ends");
        let name = markup.split_whitespace().next().unwrap_or_default();
        if !name.starts_with('/') {
            tag = name;
        }
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if !text.is_empty() {
            let mark = if matches!(tag, "h1" | "h2" | "h3" | "h4") {
                "#".repeat(tag[1..].parse().unwrap_or(1)) + " "
            } else {
                String::new()
            };
            let _ = writeln!(out, "{mark}{text}");
        }
    }
    out
}

#[test]
fn the_page_says_what_was_reviewed() {
    let html = page(&fixture::report());
    if let Some(path) = std::env::var_os("QA_KEEP_HTML") {
        std::fs::write(path, &html).expect("writes the page");
    }
    insta::assert_snapshot!(skeleton(&html));
}

#[test]
fn the_page_needs_nothing_beside_it() {
    let html = page(&fixture::report());
    for forbidden in ["<script", "http://", "https://", "@import", "url(", "<img", "<iframe", "<object", " onload="] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn every_drawing_has_a_name_and_no_number_that_is_none() {
    let html = page(&fixture::report());
    let drawings = html.matches("role=\"img\"").count();
    assert!(drawings >= 20, "{drawings} drawings");
    assert_eq!(html.matches("role=\"img\" aria-labelledby=\"").count(), drawings);
    let text = skeleton(&html);
    for word in ["NaN", "inf", "null", "undefined"] {
        assert!(!text.split(|c: char| !c.is_alphanumeric()).any(|w| w == word), "{word}");
    }
}

#[test]
fn ids_are_unique_and_every_reference_has_its_target() {
    let mut report = fixture::report();
    // Two ids that are the same once odd characters are gone.
    report.entries[0].id = "A/B".into();
    report.entries[1].id = "A B".into();
    let html = page(&report);
    let values = |attribute: &str| -> Vec<String> {
        let start = format!(" {attribute}=\"");
        html.split(start.as_str()).skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
    };
    let mut ids: BTreeMap<String, u32> = BTreeMap::new();
    for id in values("id") {
        *ids.entry(id).or_default() += 1;
    }
    let twice: Vec<_> = ids.iter().filter(|(_, n)| **n > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let references = values("href").into_iter().filter_map(|h| h.strip_prefix('#').map(ToOwned::to_owned));
    let labels =
        values("aria-labelledby").into_iter().flat_map(|l| l.split(' ').map(ToOwned::to_owned).collect::<Vec<_>>());
    for reference in references.chain(labels) {
        assert!(ids.contains_key(&reference), "nothing is called {reference}");
    }
}

#[test]
fn what_did_not_pass_is_open_and_what_passed_is_folded() {
    let html = page(&fixture::report());
    let cards: Vec<&str> =
        html.split("<details class=\"card ").skip(1).filter_map(|c| Some(c.split_once('>')?.0)).collect();
    assert_eq!(cards.len(), fixture::report().entries.len());
    for card in cards {
        assert_eq!(card.ends_with(" open"), !card.starts_with("pass"), "{card}");
    }
}

#[test]
fn hostile_text_stays_text() {
    for hostile in fixture::HOSTILE {
        let html = page(&fixture::hostile(hostile));
        assert!(!html.contains("<script") && !html.contains("<img"), "{hostile:?}");
        let control = html.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
        assert_eq!(control, None, "{hostile:?}");
        // Every element of the page is one of the page's own, however the text is cut.
        let own = page(&fixture::report());
        let tags = |html: &str| html.matches("<section").count() + html.matches("<details").count();
        assert_eq!(tags(&html), tags(&own), "{hostile:?}");
    }
    let template = page(&fixture::hostile("{{ title }}"));
    assert!(template.contains("<h1>{{ title }}</h1>"), "what looks like a template is text");
}

#[test]
fn a_report_of_nothing_is_a_page() {
    let mut report = fixture::report();
    report.entries.clear();
    report.arms.clear();
    report.warnings.clear();
    report.reproduce.clear();
    report.risks.clear();
    report.remaining.clear();
    report.environment = crate::samples::Environment::default();
    let html = page(&report);
    assert!(!html.contains("id=\"overview\"") && !html.contains("id=\"arms\""));
}

#[test]
fn code_in_a_sentence_is_set_as_code_and_escaped() {
    let mut report = fixture::report();
    report.headline.because = Some("run `qa <x>` & wait".into());
    assert!(page(&report).contains("run <code>qa &lt;x&gt;</code> &amp; wait"));
    report.headline.because = Some("one ` tick".into());
    assert!(page(&report).contains("one ` tick"));
}

#[test]
fn what_stops_it_leads_to_its_card() {
    let mut report = fixture::report();
    let id = &report.entries[0].id;
    let (link, longer) = (format!("<a href=\"#claim-{}\">{id}</a>", text::slug(id)), format!("{id}X"));
    report.headline.because = Some(format!("{id} is INVALID: no"));
    assert!(page(&report).contains(&format!("{link} is INVALID: no</p>")));
    // Another entry's id that only begins alike is none of this one's.
    report.headline.because = Some(format!("{longer} is INVALID: no"));
    assert!(page(&report).contains(&format!("</strong> {longer} is INVALID: no</p>")));
}

/// `--name: light-dark(#light, #dark)` of the style sheet, as name and both colours.
fn colors() -> BTreeMap<&'static str, [[f64; 3]; 2]> {
    let lines = STYLE.lines().filter_map(|line| line.trim().strip_prefix("--"));
    let pair = |line: &'static str| {
        let (name, rest) = line.split_once(": light-dark(")?;
        let (light, dark) = rest.trim_end_matches(");").split_once(", ")?;
        Some((name, [color(light)?, color(dark)?]))
    };
    lines.filter_map(pair).collect()
}

/// Linear light of red, green and blue; `None` for a colour with transparency.
fn color(hex: &str) -> Option<[f64; 3]> {
    let digits = hex.strip_prefix('#').filter(|d| d.len() == 6)?;
    let channel = |i: usize| {
        let value = f64::from(u8::from_str_radix(&digits[i..i + 2], 16).ok()?) / 255.0;
        Some(if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) })
    };
    Some([channel(0)?, channel(2)?, channel(4)?])
}

/// Contrast as WCAG 2.2 defines it: (L1 + 0.05) / (L2 + 0.05), with L the relative luminance.
fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
    let luminance = |[r, g, b]: [f64; 3]| 0.2126 * r + 0.7152 * g + 0.0722 * b;
    let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
    a.max(b) / a.min(b)
}

#[test]
fn every_text_can_be_read_on_its_ground() {
    let colors = colors();
    let pairs: &[(&str, &str, f64)] = &[
        ("on-pass", "pass", 5.8),
        ("on-fail", "fail", 5.8),
        ("on-inconclusive", "inconclusive", 5.8),
        ("muted", "ground", 5.8),
        ("muted", "raised", 4.5),
        ("muted", "warning-ground", 4.5),
        ("text", "ground", 7.0),
        ("text", "raised", 7.0),
        ("text", "warning-ground", 7.0),
        ("link", "ground", 4.5),
        ("link", "raised", 4.5),
        // Marks of plots need 3 : 1; these are held to text's bar.
        ("pass", "ground", 4.5),
        ("fail", "ground", 4.5),
        ("inconclusive-ink", "ground", 4.5),
        ("strong-line", "ground", 3.0),
    ];
    for (front, back, least) in pairs {
        for theme in 0..2 {
            let of = |name: &str| colors.get(name).unwrap_or_else(|| panic!("no colour {name}"))[theme];
            let found = contrast(of(front), of(back));
            assert!(found >= *least, "{front} on {back}: {found:.2} in theme {theme}");
        }
    }
    let white_on_black = contrast([1.0; 3], [0.0; 3]);
    assert!((white_on_black - 21.0).abs() < 1e-9);
}
