#[path = "../../../../tests/junit_schema.rs"]
mod schema;

use super::*;
use crate::report::fixture;
use roxmltree::{Document, Node};

fn children<'a>(node: Node<'a, 'a>, name: &'static str) -> Vec<Node<'a, 'a>> {
    node.children().filter(|n| n.has_tag_name(name)).collect()
}

fn number(node: Node<'_, '_>, attribute: &str) -> usize {
    let value = node.attribute(attribute).unwrap_or_else(|| panic!("{} lacks {attribute}", node.tag_name().name()));
    value.parse().unwrap_or_else(|_| panic!("{attribute} is {value}, not a count"))
}

#[test]
fn the_xml_is_what_ci_systems_parse() {
    let report = fixture::report();
    let xml = render(&report).expect("renders");
    let document = Document::parse(&xml).expect("well-formed");
    let root = document.root_element();
    assert!(root.has_tag_name("testsuites"));
    schema::check(root);
    for (counter, element) in
        [("failures", "failure"), ("errors", "error"), ("skipped", "skipped"), ("tests", "testcase")]
    {
        let found = root.descendants().filter(|n| n.has_tag_name(element)).count();
        // Of all suites together the schema counts what is skipped nowhere.
        if counter == "skipped" {
            assert_eq!(root.attribute(counter), None);
        } else {
            assert_eq!(number(root, counter), found, "{counter}");
        }
        for suite in children(root, "testsuite") {
            let inside = suite.descendants().filter(|n| n.has_tag_name(element)).count();
            assert_eq!(number(suite, counter), inside, "{counter} of a suite");
        }
    }
    assert_eq!(number(root, "tests"), report.entries.len());
    insta::assert_snapshot!(xml);
}

#[test]
fn outcomes_follow_verdict_and_requirement() {
    let outcome = |verdict: Verdict, required: bool| {
        let mut report = fixture::report();
        report.entries.truncate(1);
        report.entries[0].verdict = verdict;
        report.entries[0].required = required;
        let xml = render(&report).expect("renders");
        let document = Document::parse(&xml).expect("well-formed");
        let case = document.descendants().find(|n| n.has_tag_name("testcase")).expect("a case");
        case.children().find(|n| ["failure", "error", "skipped"].contains(&n.tag_name().name())).map_or(
            "success",
            |n| match n.tag_name().name() {
                "failure" => "failure",
                "error" => "error",
                _ => "skipped",
            },
        )
    };
    use Verdict::{Blocked, Error, Fail, Inconclusive, Invalid, Pass};
    for (verdict, required) in [(Fail, "failure"), (Inconclusive, "failure"), (Invalid, "error"), (Blocked, "error")] {
        assert_eq!(outcome(verdict, true), required, "{verdict:?}");
        assert_eq!(outcome(verdict, false), "skipped", "{verdict:?}");
    }
    assert_eq!(outcome(Error, true), "error");
    assert_eq!(outcome(Pass, true), "success");
    assert_eq!(outcome(Pass, false), "success");
}

#[test]
fn hostile_text_stays_text() {
    for hostile in fixture::HOSTILE {
        let report = fixture::hostile(hostile);
        let xml = render(&report).expect("renders");
        let document = Document::parse(&xml).unwrap_or_else(|e| panic!("{hostile:?} breaks the XML: {e}"));
        schema::check(document.root_element());
        let cases = document.descendants().filter(|n| n.has_tag_name("testcase")).count();
        assert_eq!(cases, report.entries.len());
        assert!(!xml.contains('\u{1b}') && !xml.contains("<script"), "{hostile:?}");
    }
}
