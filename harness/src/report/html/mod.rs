//! The report as one HTML page: no script, no network, nothing beside it needed.
//!
//! [`view`] turns the result model into strings and coordinates; the templates under `reports/templates` arrange them.

mod ablation;
mod arms;
mod card;
mod differences;
mod overview;
pub mod picture;
mod rates;
mod timeline;
mod view;

use super::model::Report;
use super::text;
use std::io::{self, Write};
use std::sync::OnceLock;
use tera::{Context, Kwargs, State, Tera, Value};

/// Templates by name. The names end in `.html`, so that everything in them is escaped.
const TEMPLATES: &[(&str, &str)] = &[
    ("parts.html", include_str!("../../../../reports/templates/parts.html")),
    ("plots.html", include_str!("../../../../reports/templates/plots.html")),
    ("ablation.html", include_str!("../../../../reports/templates/ablation.html")),
    ("rates.html", include_str!("../../../../reports/templates/rates.html")),
    ("claims.html", include_str!("../../../../reports/templates/claims.html")),
    ("picture.html", include_str!("../../../../reports/templates/picture.html")),
    ("report.html", include_str!("../../../../reports/templates/report.html")),
    ("selftest.html", include_str!("../../../../reports/templates/selftest.html")),
];
/// The style sheet, which holds no value of the report.
const STYLE: &str = include_str!("../../../../reports/templates/style.css");

/// A report as HTML.
///
/// # Errors
/// When a template refers to something that the view does not have, which no content of a report causes.
pub fn render(report: &Report) -> Result<String, tera::Error> {
    page("report.html", &view::View::of(report))
}

/// What a view shows, by one of the templates that are a whole page.
///
/// # Errors
/// When the template refers to something that the view does not have.
pub(crate) fn page(template: &str, view: &impl serde::Serialize) -> Result<String, tera::Error> {
    let mut context = Context::from_serialize(view)?;
    context.insert("style", STYLE);
    engine()?.render(template, &context)
}

fn engine() -> Result<&'static Tera, tera::Error> {
    static ENGINE: OnceLock<Tera> = OnceLock::new();
    if let Some(engine) = ENGINE.get() {
        return Ok(engine);
    }
    let mut engine = Tera::new();
    engine.set_escape_fn(escape);
    engine.register_filter("prose", prose);
    engine.add_raw_templates(TEMPLATES.iter().copied())?;
    Ok(ENGINE.get_or_init(|| engine))
}

/// HTML's escapes, after control characters have become visible: HTML has no way to write most of them.
fn escape(raw: &str, out: &mut dyn Write) -> io::Result<()> {
    tera::escape_html(&text::visible(raw), out)
}

/// A sentence whose parts in backticks are set as code, escaped.
fn prose(raw: &str, _: Kwargs, _: &State) -> tera::TeraResult<Value> {
    let parts: Vec<&str> = raw.split('`').collect();
    let paired = parts.len() % 2 == 1;
    let mut out = Vec::with_capacity(raw.len() + 32);
    for (index, part) in parts.iter().enumerate() {
        let code = paired && index % 2 == 1;
        let between = if paired || index == 0 { "" } else { "`" };
        let (open, close) = if code { ("<code>", "</code>") } else { (between, "") };
        out.extend_from_slice(open.as_bytes());
        escape(part, &mut out).map_err(tera::Error::message)?;
        out.extend_from_slice(close.as_bytes());
    }
    Ok(Value::safe_string(&String::from_utf8_lossy(&out)))
}

#[cfg(test)]
mod browser_tests;
#[cfg(test)]
mod devtools;
#[cfg(test)]
mod tests;
