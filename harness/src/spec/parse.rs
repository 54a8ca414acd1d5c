//! YAML text to a tree with places. Bounded: a hostile file costs no more than its own size.
//!
//! `serde_yaml` keeps no places beyond an error's, and expands aliases; so the tree is built from a parser's events.
//! Anchors, aliases, tags and several documents are not part of the language: includes and matrices say the same things
//! in sight.

use super::node::{Field, Kind, Node, Text};
use super::problem::Problem;
use super::scalar;
use super::source::Span;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span as ParserSpan, StrInput};
use std::collections::HashSet;

/// How large a text may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// In bytes.
    pub bytes: usize,
    /// Values in it.
    pub nodes: usize,
}

impl Limits {
    /// What people write.
    pub const WRITTEN: Self = Self { bytes: 1 << 20, nodes: 200_000 };
    /// What a run keeps: as many entries as matrices may stand for, each written out.
    pub const RESOLVED: Self = Self { bytes: 64 << 20, nodes: 4_000_000 };
}

/// The deepest nesting of lists and maps.
const MAX_DEPTH: usize = 32;
/// The longest name, in bytes.
const MAX_NAME: usize = 200;

/// Build the tree of a text, whose number is `source`.
///
/// # Errors
/// Where the text is no YAML, or uses what the language leaves out.
pub fn parse(text: &str, source: u32, limits: Limits) -> Result<Node, Problem> {
    if text.len() > limits.bytes {
        let message = format!("the file has more than {} bytes, the most that a specification may have", limits.bytes);
        let start = Span { source, start: 0, end: 0 };
        let help = "is this the right file? A `matrix` writes many entries as one, and `include` divides a file";
        return Err(Problem::new(start, message, "too long").help(help));
    }
    let places = Places::new(text, source);
    let mut builder = Builder { text, parser: Parser::new_from_str(text), places, nodes: 0, most: limits.nodes };
    let root = builder.document()?;
    if matches!(root.kind, Kind::Null) {
        return Err(Problem::new(root.span, "the file is empty", "a specification begins with `apiVersion: qa/v1`"));
    }
    Ok(root)
}

/// Byte offsets of a parser's marks, which count characters.
struct Places {
    source: u32,
    bytes: Vec<u32>,
}

impl Places {
    fn new(text: &str, source: u32) -> Self {
        let mut bytes: Vec<u32> = text.char_indices().map(|(at, _)| at as u32).collect();
        bytes.push(text.len() as u32);
        Self { source, bytes }
    }

    fn byte(&self, mark: &Marker) -> u32 {
        self.bytes.get(mark.index()).or(self.bytes.last()).copied().unwrap_or(0)
    }

    fn span(&self, span: ParserSpan) -> Span {
        let start = self.byte(&span.start);
        Span { source: self.source, start, end: self.byte(&span.end).max(start) }
    }

    fn empty(&self, at: u32) -> Span {
        Span { source: self.source, start: at, end: at }
    }
}

struct Builder<'a> {
    text: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    places: Places,
    nodes: usize,
    most: usize,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Problem> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, self.places.span(span))),
            Some(Err(error)) => {
                let span = self.places.empty(self.places.byte(error.marker()));
                let problem = Problem::new(span, format!("this is not YAML: {}", error.info()), "here");
                Err(problem.help(
                    "common causes: a tab in the indentation, a missing space after `:`, an unclosed quote or bracket, \
                     or `${...}` without quotes within `{}` or `[]`",
                ))
            }
            None => Err(Problem::new(self.places.empty(0), "the file ends within a value", "this file")),
        }
    }

    fn document(&mut self) -> Result<Node, Problem> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root.unwrap_or(Node { kind: Kind::Null, span })),
                Event::DocumentStart(_) if root.is_some() => {
                    let problem = Problem::new(span, "a file holds one specification", "a second document begins here");
                    return Err(problem.help("remove the `---`, or move what follows into a file of its own"));
                }
                Event::DocumentStart(_) => {
                    let (event, span) = self.next()?;
                    root = Some(self.value(event, span, 0)?);
                }
                _ => {}
            }
        }
    }

    fn value(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Problem> {
        self.nodes += 1;
        if depth > MAX_DEPTH {
            let message = format!("lists and maps are nested more than {MAX_DEPTH} deep");
            return Err(Problem::new(span, message, "too deep"));
        }
        if self.nodes > self.most {
            let message = format!("the file holds more than {} values", self.most);
            return Err(Problem::new(span, message, "too many").help("a `matrix` writes many entries as one"));
        }
        match event {
            Event::Scalar(_, _, 1.., _) | Event::SequenceStart(1.., _) | Event::MappingStart(1.., _) => {
                Err(Self::no_aliases(span, "an anchor"))
            }
            Event::Alias(_) => Err(Self::no_aliases(span, "an alias")),
            Event::Scalar(_, _, _, Some(tag))
            | Event::SequenceStart(_, Some(tag))
            | Event::MappingStart(_, Some(tag)) => {
                let problem = Problem::new(span, format!("the tag `{tag}` means nothing here"), "a tag");
                Err(problem.help("write the value without it; quotes make a string of a number"))
            }
            Event::Scalar(value, style, ..) => Self::scalar(&value, style, span),
            Event::SequenceStart(..) => self.list(span, depth),
            Event::MappingStart(..) => self.map(span, depth),
            _ => Err(Problem::new(span, "a value is missing", "expected a value here")),
        }
    }

    fn no_aliases(span: Span, what: &str) -> Problem {
        Problem::new(span, "anchors (`&`) and aliases (`*`) are not part of the language", what)
            .help("write the value out, use a `matrix`, or `include` a shared file; quotes make a string of `&` or `*`")
    }

    fn scalar(value: &str, style: ScalarStyle, span: Span) -> Result<Node, Problem> {
        let kind = if style == ScalarStyle::Plain {
            let help = "quotes make a string of it";
            scalar::resolve(value).map_err(|why| Problem::new(span, why, "this number").help(help))?
        } else {
            Kind::Text(Text { value: value.to_owned(), substituted: false, from_outside: false })
        };
        Ok(Node { kind, span })
    }

    fn list(&mut self, start: Span, depth: usize) -> Result<Node, Problem> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                let span = Span { end: span.end.max(start.end), ..start };
                return Ok(Node { kind: Kind::List(items), span });
            }
            items.push(self.value(event, span, depth + 1)?);
        }
    }

    fn map(&mut self, start: Span, depth: usize) -> Result<Node, Problem> {
        let mut fields = Vec::new();
        let mut seen = HashSet::new();
        loop {
            let (event, name_span) = self.next()?;
            if event == Event::MappingEnd {
                let span = Span { end: name_span.end.max(start.end), ..start };
                return Ok(Node { kind: Kind::Map(fields), span });
            }
            let name = self.name(event, name_span, depth)?;
            if !seen.insert(name.clone()) {
                let first = fields.iter().find(|field: &&Field| field.name == name).map(|field| field.name_span);
                let line = first.map_or(1, |span| self.text[..span.start as usize].matches('\n').count() + 1);
                let problem = Problem::new(name_span, format!("`{name}` is given twice"), "again here");
                return Err(problem.help(format!("it is first given on line {line}; keep one of the two")));
            }
            let (event, span) = self.next()?;
            let value = self.value(event, span, depth + 1)?;
            // An absent value has no extent of its own: it is where its name is.
            let span = if matches!(value.kind, Kind::Null) && value.span.start == value.span.end {
                name_span
            } else {
                value.span
            };
            fields.push(Field { name, name_span, value: Node { span, ..value } });
        }
    }

    /// A key as it is written.
    fn name(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<String, Problem> {
        if let Event::Scalar(name, style, 0, None) = &event
            && (*style != ScalarStyle::Plain || !name.is_empty())
        {
            if name.len() > MAX_NAME {
                let message = format!("a name has {} bytes, and at most {MAX_NAME} are allowed", name.len());
                return Err(Problem::new(span, message, "too long").help("is a line break or a `:` missing?"));
            }
            return Ok(name.to_string());
        }
        let key = self.value(event, span, depth + 1)?;
        let problem = Problem::new(span, format!("{} cannot be a name", key.kind.words()), "not a name");
        Err(problem.help("within `{}`, write `\"${...}\"` with quotes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse(text, 0, Limits::WRITTEN).expect_err(&text.chars().take(60).collect::<String>()).message
    }

    #[test]
    fn the_tree_says_what_another_implementation_reads() {
        let text = "a: 1\nb: [x, 'y', {c: 2.5}]\nd:\n- e: |\n    two\n    lines\n- >-\n  folded\n  text\nf: ~\ng: {}\n";
        let mine: serde_json::Value = crate::spec::typed::read(&parse(text, 0, Limits::WRITTEN).unwrap()).unwrap();
        let peer: serde_json::Value = serde_yaml::from_str(text).unwrap();
        assert_eq!(mine, peer);
    }

    #[test]
    fn places_are_bytes_of_the_file() {
        let text = "größe: äß\nb: [1, zwei]\n";
        let root = parse(text, 3, Limits::WRITTEN).unwrap();
        let words = |span: Span| &text[span.start as usize..span.end as usize];
        assert_eq!(words(root.fields()[0].name_span), "größe");
        assert_eq!(words(root.fields()[0].value.span), "äß");
        assert_eq!(words(root.fields()[1].value.span), "[1, zwei]");
        assert_eq!(words(root.get("b").unwrap().items()[1].span), "zwei");
        assert_eq!(root.span.source, 3);
    }

    #[test]
    fn hostile_files_are_refused_at_no_great_cost() {
        let billion = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
        assert_eq!(refused(billion), "anchors (`&`) and aliases (`*`) are not part of the language");
        assert_eq!(refused("a: *nowhere\n").split(':').next(), Some("this is not YAML"));
        assert_eq!(
            refused("a: !!python/object:os.system x\n"),
            "the tag `tag:yaml.org,2002:!python/object:os.system` means nothing here"
        );
        assert_eq!(refused(&format!("a: {}", "[".repeat(100_000))), "this is not YAML: recursion limit exceeded");
        assert_eq!(refused(&format!("a: {}", "[".repeat(200))), "lists and maps are nested more than 32 deep");
        assert_eq!(refused(&format!("a: {}", "{a: ".repeat(200))), "lists and maps are nested more than 32 deep");
        let stairs: Vec<String> = (0..200).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
        assert_eq!(refused(&stairs.concat()), "lists and maps are nested more than 32 deep");
        assert_eq!(
            refused(&format!("a: [{}]", "1,".repeat(Limits::WRITTEN.nodes))),
            "the file holds more than 200000 values"
        );
        assert_eq!(
            refused(&" ".repeat(Limits::WRITTEN.bytes + 1)),
            "the file has more than 1048576 bytes, the most that a specification may have"
        );
        assert_eq!(refused(&format!("{}: 1", "a".repeat(201))), "a name has 201 bytes, and at most 200 are allowed");
        assert_eq!(refused("a: 1\na: 2\n"), "`a` is given twice");
        assert_eq!(refused("a: 1\n---\nb: 2\n"), "a file holds one specification");
        assert_eq!(refused(""), "the file is empty");
        assert_eq!(refused("# nothing\n"), "the file is empty");
        assert_eq!(refused("{[1]: 2}"), "a list cannot be a name");
        assert_eq!(refused(": 2"), "nothing cannot be a name");
    }
}
