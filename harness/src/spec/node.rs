//! The tree of a specification, each value with its place in a file: what every stage before the types works on.

use super::problem::shown;
use super::source::Span;
use serde_json::Number;

/// A value and where it is written.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where it is written. A map or list in block style reaches over many lines.
    pub span: Span,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Nothing, or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer of 64 bits, or a finite float.
    Number(Number),
    /// A string.
    Text(Text),
    /// A list.
    List(Vec<Node>),
    /// A map with unique names, in the order of the file.
    Map(Vec<Field>),
}

/// A string.
#[derive(Clone, Debug)]
pub struct Text {
    /// Its characters.
    pub value: String,
    /// Whether a `${...}` was replaced in it. Then it is a number or a truth value where one is expected: quotes around
    /// `"${N}"` are forced by YAML within `{}` and say nothing about its type.
    pub substituted: bool,
    /// Whether it begins with what came from outside the files: an environment variable, or the command line. A path
    /// that does is relative to the working directory.
    pub from_outside: bool,
}

/// A name and a value of a map.
#[derive(Clone, Debug)]
pub struct Field {
    /// The name.
    pub name: String,
    /// Where the name is written.
    pub name_span: Span,
    /// The value.
    pub value: Node,
}

/// A step from a value into it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The value of a name.
    Name(String),
    /// The value at an index.
    Index(usize),
}

impl From<&str> for Step {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// A path as messages and `--set` write it: `arms.native.model`, `acceptance.POINT-41.require`; an item without an id by
/// its index. `tree` is what the path leads into.
pub fn path_words(path: &[Step], tree: &Node) -> String {
    let mut words = String::new();
    let mut here = Some(tree);
    for step in path {
        let dot = if words.is_empty() { "" } else { "." };
        here = match step {
            Step::Name(name) => {
                words.extend([dot, name]);
                here.and_then(|node| node.get(name))
            }
            Step::Index(index) => {
                let item = here.and_then(|node| node.items().get(*index));
                match item.and_then(|item| item.get("id")).and_then(Node::as_text) {
                    Some(id) => words.extend([dot, id]),
                    None => words.extend(["[", &index.to_string(), "]"]),
                }
                item
            }
        };
    }
    words
}

impl Node {
    /// A string that stands in a file.
    pub fn text(value: impl Into<String>, span: Span) -> Self {
        let text = Text { value: value.into(), substituted: false, from_outside: false };
        Self { kind: Kind::Text(text), span }
    }

    /// An empty map.
    pub fn empty_map(span: Span) -> Self {
        Self { kind: Kind::Map(Vec::new()), span }
    }

    /// Its string, when it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(&text.value),
            _ => None,
        }
    }

    /// Its fields, none when it is no map.
    pub fn fields(&self) -> &[Field] {
        match &self.kind {
            Kind::Map(fields) => fields,
            _ => &[],
        }
    }

    /// Its fields, to change them.
    pub fn fields_mut(&mut self) -> Option<&mut Vec<Field>> {
        match &mut self.kind {
            Kind::Map(fields) => Some(fields),
            _ => None,
        }
    }

    /// Its items, none when it is no list.
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::List(items) => items,
            _ => &[],
        }
    }

    /// The field of a name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields().iter().find(|field| field.name == name)
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.field(name).map(|field| &field.value)
    }

    /// The value of a name, to change it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.fields_mut()?.iter_mut().find(|field| field.name == name).map(|field| &mut field.value)
    }

    /// Take a field out.
    pub fn remove(&mut self, name: &str) -> Option<Field> {
        let fields = self.fields_mut()?;
        let index = fields.iter().position(|field| field.name == name)?;
        Some(fields.remove(index))
    }

    /// The value one step in, to change it.
    pub fn step_mut(&mut self, step: &Step) -> Option<&mut Node> {
        match (step, &mut self.kind) {
            (Step::Index(index), Kind::List(items)) => items.get_mut(*index),
            (Step::Name(name), Kind::Map(fields)) => {
                fields.iter_mut().find(|field| field.name == *name).map(|field| &mut field.value)
            }
            _ => None,
        }
    }

    /// Where a path's value is written: a scalar itself, a map or list by its name. A path that is not written (a
    /// default, a missing field) is where its nearest written ancestor is.
    pub fn locate(&self, path: &[Step]) -> Span {
        let mut here = self;
        let mut place = self.span;
        for step in path {
            let next = match (step, &here.kind) {
                (Step::Name(name), Kind::Map(_)) => here.field(name).map(|field| (field.name_span, &field.value)),
                (Step::Index(index), Kind::List(items)) => items.get(*index).map(|item| (item.span, item)),
                _ => None,
            };
            let Some((named_at, value)) = next else { break };
            place = if matches!(value.kind, Kind::Map(_) | Kind::List(_)) { named_at } else { value.span };
            here = value;
        }
        place
    }

    /// Where the last name of a path is written; as [`Node::locate`] when that is an index, or not written.
    pub fn locate_name(&self, path: &[Step]) -> Span {
        if let Some((Step::Name(last), parents)) = path.split_last() {
            let mut here = Some(self);
            for step in parents {
                here = here.and_then(|node| match step {
                    Step::Name(name) => node.get(name),
                    Step::Index(index) => node.items().get(*index),
                });
            }
            if let Some(field) = here.and_then(|node| node.field(last)) {
                return field.name_span;
            }
        }
        self.locate(path)
    }

    /// Hand this node and every one below it to `f`, parents first.
    pub fn walk_mut(&mut self, f: &mut dyn FnMut(&mut Node)) {
        f(self);
        match &mut self.kind {
            Kind::List(items) => items.iter_mut().for_each(|item| item.walk_mut(f)),
            Kind::Map(fields) => fields.iter_mut().for_each(|field| field.value.walk_mut(f)),
            _ => {}
        }
    }
}

impl Kind {
    /// What it is, in words.
    pub fn words(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(value) => format!("`{value}`"),
            Self::Number(number) => format!("the number `{number}`"),
            Self::Text(text) => format!("the string {}", shown(&text.value)),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a map".to_owned(),
        }
    }
}
