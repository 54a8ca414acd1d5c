//! Jenkins' schema of JUnit files (jenkins-junit.xsd), for whoever holds one to it: trials of the command and of the renderer.

use roxmltree::Node;

/// What the JUnit format that Jenkins reads, and every parser modelled on it, allows of the elements used here.
pub fn check(root: Node<'_, '_>) {
    const ALLOWED: &[(&str, &[&str], &[&str])] = &[
        ("testsuites", &["name", "time", "tests", "failures", "disabled", "errors"], &["testsuite"]),
        (
            "testsuite",
            &[
                "name",
                "tests",
                "failures",
                "errors",
                "time",
                "disabled",
                "skipped",
                "timestamp",
                "hostname",
                "id",
                "package",
            ],
            &["properties", "testcase", "system-out", "system-err"],
        ),
        ("properties", &[], &["property"]),
        ("property", &["name", "value"], &[]),
        (
            "testcase",
            &["name", "assertions", "time", "classname", "status"],
            &["skipped", "error", "failure", "system-out", "system-err"],
        ),
        ("failure", &["message", "type"], &[]),
        ("error", &["message", "type"], &[]),
        ("skipped", &["message", "type"], &[]),
        ("system-out", &[], &[]),
    ];
    for node in root.descendants().filter(Node::is_element) {
        let name = node.tag_name().name();
        let (_, attributes, children) =
            ALLOWED.iter().find(|(n, ..)| *n == name).unwrap_or_else(|| panic!("no element {name} in the schema"));
        for attribute in node.attributes() {
            assert!(attributes.contains(&attribute.name()), "no attribute {} in {name}", attribute.name());
        }
        for child in node.children().filter(Node::is_element) {
            assert!(children.contains(&child.tag_name().name()), "no {} in {name}", child.tag_name().name());
        }
    }
    for case in root.descendants().filter(|n| n.has_tag_name("testcase")) {
        assert!(case.attribute("name").is_some() && case.attribute("classname").is_some());
        let outcomes = case.children().filter(|n| ["skipped", "error", "failure"].contains(&n.tag_name().name()));
        assert!(outcomes.count() <= 1, "a case has one outcome");
    }
}
