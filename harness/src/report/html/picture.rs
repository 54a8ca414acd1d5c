//! One picture of a report, for a README or a pull request: its verdict and the ratios that it rests on.

use super::overview::{ForestRow, ratios};
use super::view::anchors;
use crate::report::model::Report;
use crate::report::phrase;
use crate::report::svg::forest::SharedAxis;
use serde::Serialize;

/// Height of a row, and of what is above and below all of them.
const ROW: usize = 26;
const AROUND: usize = 88 + 22 + 34;

#[derive(Serialize)]
struct View {
    sentence: String,
    title: String,
    machine: String,
    day: String,
    height: usize,
    axis: Option<SharedAxis>,
    rows: Vec<ForestRow>,
}

/// The picture, an SVG file that needs nothing beside it and follows the reader's theme.
///
/// # Errors
/// When the template refers to something that the view does not have, which no content of a report causes.
pub fn render(report: &Report) -> Result<String, tera::Error> {
    let (axis, rows) = ratios(report, &anchors(report));
    let view = View {
        sentence: report.headline.sentence.clone(),
        title: report.title.clone(),
        machine: crate::environment::machine(&report.environment),
        day: phrase::moment(&report.environment.started_at).chars().take(10).collect(),
        height: AROUND + ROW * rows.len(),
        axis,
        rows,
    };
    super::page("picture.html", &view)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn a_picture_is_one_file_of_xml_with_a_row_a_ratio() {
        let svg = render(&fixture::report()).expect("renders");
        let document = roxmltree::Document::parse(&svg).expect("XML");
        let texts: Vec<&str> = document.descendants().filter_map(|node| node.text()).collect();
        assert!(texts.iter().any(|text| text.starts_with("Acceptance NOT MET")), "{texts:?}");
        for id in ["POINT-41", "POINT-43", "CONTROL", "LONG-CTX"] {
            assert!(texts.iter().any(|text| text.trim() == id), "{id}: {texts:?}");
        }
        for forbidden in ["<script", "href", "@import", "url("] {
            assert!(!svg.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn hostile_text_stays_text() {
        for hostile in fixture::HOSTILE {
            let svg = render(&fixture::hostile(hostile)).expect("renders");
            roxmltree::Document::parse(&svg).unwrap_or_else(|e| panic!("{hostile:?}: {e}"));
            assert!(!svg.contains("<script"), "{hostile:?}");
        }
    }

    #[test]
    fn a_report_without_ratios_is_a_picture_all_the_same() {
        let mut report = fixture::report();
        report.entries.clear();
        roxmltree::Document::parse(&render(&report).expect("renders")).expect("XML");
    }
}
