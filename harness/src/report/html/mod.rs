//! The report as one HTML page: no script, no network, nothing beside it needed.
//!
//! [`view`] turns the result model into strings and coordinates; the templates under `reports/templates` arrange them.

mod arms;
mod card;
mod overview;
mod view;

use super::model::Report;
use super::text;
use std::io::{self, Write};
use std::sync::OnceLock;
use tera::{Context, Tera};

/// Templates by name. The names end in `.html`, so that everything in them is escaped.
const TEMPLATES: &[(&str, &str)] = &[
    ("parts.html", include_str!("../../../../reports/templates/parts.html")),
    ("plots.html", include_str!("../../../../reports/templates/plots.html")),
    ("claims.html", include_str!("../../../../reports/templates/claims.html")),
    ("report.html", include_str!("../../../../reports/templates/report.html")),
];
/// The style sheet, which holds no value of the report.
const STYLE: &str = include_str!("../../../../reports/templates/style.css");

/// A report as HTML.
///
/// # Errors
/// When a template refers to something that the view does not have, which no content of a report causes.
pub fn render(report: &Report) -> Result<String, tera::Error> {
    let mut context = Context::from_serialize(&view::View::of(report))?;
    context.insert("style", STYLE);
    engine()?.render("report.html", &context)
}

fn engine() -> Result<&'static Tera, tera::Error> {
    static ENGINE: OnceLock<Tera> = OnceLock::new();
    if let Some(engine) = ENGINE.get() {
        return Ok(engine);
    }
    let mut engine = Tera::new();
    engine.set_escape_fn(escape);
    engine.add_raw_templates(TEMPLATES.iter().copied())?;
    Ok(ENGINE.get_or_init(|| engine))
}

/// HTML's escapes, after control characters have become visible: HTML has no way to write most of them.
fn escape(raw: &str, out: &mut dyn Write) -> io::Result<()> {
    tera::escape_html(&text::visible(raw), out)
}

#[cfg(test)]
mod tests;
