//! Findings for a terminal.

use super::{Finding, State};
use std::fmt::Write as _;

/// Columns before what was found.
const INDENT: usize = 22;

/// Findings, one below the other, `width` columns wide; what is not as it should be comes with what it is needed for and
/// what mends it.
pub fn render(findings: &[Finding], width: usize) -> String {
    let mut out = String::new();
    for finding in findings {
        let word = match finding.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Missing => "missing",
        };
        let head = format!("{word:<9} {:<11} ", finding.topic.name());
        let indent = " ".repeat(INDENT);
        let fill = |text: &str, first: &str| {
            let options = textwrap::Options::new(width).initial_indent(first).subsequent_indent(&indent);
            // What stands between two backticks may be copied, hyphens included.
            textwrap::fill(text, options.break_words(false).word_splitter(textwrap::WordSplitter::NoHyphenation))
        };
        let _ = writeln!(out, "{}", fill(&finding.found, &head));
        if let Some(mend) = finding.mend.as_deref().filter(|mend| !mend.is_empty()) {
            let _ = writeln!(out, "{}", fill(&format!("needed for {}", finding.topic.needed_for()), &indent));
            // A line to be copied is not broken.
            let _ = writeln!(out, "{indent}-> {mend}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::Topic;
    use super::*;

    #[test]
    fn what_is_missing_stands_with_the_line_that_mends_it() {
        let findings = [
            Finding::ok(Topic::Processor, "8 cores"),
            Finding::warning(
                Topic::Card,
                "NVIDIA H100, 1980 MHz, 40 C; 1 other process computes there, and what is timed beside it is INVALID",
                "end it",
            ),
            Finding::missing(
                Topic::LlamaCpp,
                "llama-bench is not on the PATH, and QA_LLAMA_CPP is not set",
                "install llama.cpp",
            ),
        ];
        insta::assert_snapshot!("findings", render(&findings, 80));
    }

    #[test]
    fn what_may_be_copied_is_not_broken_at_a_hyphen() {
        for width in 40..90 {
            let said =
                render(&[Finding::ok(Topic::Nvrtc, "is not here: `pip install nvidia-cuda-nvrtc==13.*` or so")], width);
            assert!(said.contains("nvidia-cuda-nvrtc==13.*`"), "{said}");
        }
    }
}
