//! The tree as types. Errors of shape keep their place, and all of them are found: each is mended in a copy of the tree,
//! and the reading goes on.

use super::node::{Kind, Node, Step, path_words};
use super::problem::{Problem, nearest, shown, suggest};
use super::scalar;
use super::source::Span;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use std::collections::HashSet;
use std::fmt;

/// How many errors of shape are reported at most.
const MOST_ERRORS: usize = 100;

/// Why a tree is not of a type.
#[derive(Debug)]
pub struct ShapeError {
    reason: Reason,
    span: Option<Span>,
    /// Steps from the innermost outwards.
    path: Vec<Step>,
}

#[derive(Debug)]
enum Reason {
    UnknownField { name: String, known: &'static [&'static str] },
    UnknownVariant { name: String, known: &'static [&'static str] },
    MissingField(&'static str),
    Type { found: String, expected: String },
    Other(String),
}

impl ShapeError {
    fn of(reason: Reason) -> Self {
        Self { reason, span: None, path: Vec::new() }
    }

    fn at(mut self, span: Span) -> Self {
        self.span.get_or_insert(span);
        self
    }

    fn below(mut self, step: Step, span: Span) -> Self {
        self.path.push(step);
        self.at(span)
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::UnknownField { name, .. } => write!(f, "unknown field `{name}`"),
            Reason::UnknownVariant { name, .. } => write!(f, "unknown value `{name}`"),
            Reason::MissingField(name) => write!(f, "missing field `{name}`"),
            Reason::Type { found, expected } => write!(f, "expected {expected}, found {found}"),
            Reason::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for ShapeError {}

impl de::Error for ShapeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::of(Reason::Other(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::of(Reason::Type { found: found_words(&found), expected: expected_words(&expected.to_string()) })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::of(Reason::UnknownField { name: field.to_owned(), known: expected })
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::of(Reason::UnknownVariant { name: variant.to_owned(), known: expected })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::of(Reason::MissingField(field))
    }
}

/// What was found, in the words of YAML.
fn found_words(found: &Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("the number `{value}`"),
        Unexpected::Signed(value) => format!("the number `{value}`"),
        Unexpected::Float(value) => format!("the number `{value}`"),
        Unexpected::Str(value) => format!("the string {}", shown(value)),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a map".to_owned(),
        other => other.to_string(),
    }
}

/// What was expected: the names of Rust's types mean nothing to a reader of YAML.
fn expected_words(expected: &str) -> String {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "`true` or `false`",
        "a sequence" => "a list",
        _ if expected.starts_with("struct ") => "a map of its fields",
        _ => expected,
    }
    .to_owned()
}

/// Read a tree as a type, up to its first error.
///
/// # Errors
/// Where the tree is not of the type.
pub fn read<T: DeserializeOwned>(node: &Node) -> Result<T, ShapeError> {
    T::deserialize(node).map_err(|error| error.at(node.span))
}

/// A tree as a type, as far as it could be read.
pub struct Reading<T> {
    /// The value, when every error could be mended.
    pub value: Option<T>,
    /// Every error of shape.
    pub problems: Vec<Problem>,
    /// Whether the value is what was meant: every error was a slip in a name.
    pub faithful: bool,
}

/// Read a tree as a type, mending it in place and collecting every error of shape. `at` is the tree's own path, for
/// messages.
pub fn read_all<T: DeserializeOwned>(tree: &mut Node, at: &[Step]) -> Reading<T> {
    let mut problems = Vec::new();
    let mut faithful = true;
    let mut dropped = HashSet::new();
    while problems.len() < MOST_ERRORS {
        let error = match read(tree) {
            Ok(value) => return Reading { value: Some(value), problems, faithful },
            Err(error) => error,
        };
        let mut path: Vec<Step> = error.path.clone();
        path.reverse();
        if let Reason::MissingField(name) = error.reason
            && dropped.contains(&(path.clone(), name.to_owned()))
        {
            // Its value was wrong, and has been reported.
        } else {
            problems.push(problem(&error, at, &path, tree));
        }
        match mend(tree, &error, &path) {
            Mended::Renamed => {}
            Mended::Dropped(field) => {
                faithful = false;
                dropped.extend(field);
            }
            Mended::No => return Reading { value: None, problems, faithful: false },
        }
    }
    Reading { value: None, problems, faithful: false }
}

enum Mended {
    /// A name became the known one that it is near to.
    Renamed,
    /// A value is gone; with the map and name that now lack it.
    Dropped(Option<(Vec<Step>, String)>),
    /// Nothing is left to go on with.
    No,
}

/// Change the tree so that the error does not come again.
fn mend(tree: &mut Node, error: &ShapeError, path: &[Step]) -> Mended {
    match &error.reason {
        Reason::UnknownField { name, known } => {
            let Some(parent) = walk(tree, path) else { return Mended::No };
            let meant = nearest(name, known.iter().copied()).filter(|meant| parent.get(meant).is_none());
            match (meant, parent.fields_mut().and_then(|all| all.iter_mut().find(|field| field.name == *name))) {
                (Some(meant), Some(field)) => {
                    meant.clone_into(&mut field.name);
                    Mended::Renamed
                }
                (None, Some(_)) => {
                    parent.remove(name);
                    Mended::Dropped(None)
                }
                (_, None) => Mended::No,
            }
        }
        Reason::UnknownVariant { name, known } => {
            if let Some(meant) = nearest(name, known.iter().copied())
                && let Some(value) = walk(tree, path)
                && value.as_text() == Some(name)
            {
                *value = Node::text(meant, value.span);
                return Mended::Renamed;
            }
            drop_value(tree, path)
        }
        _ => drop_value(tree, path),
    }
}

fn drop_value(tree: &mut Node, path: &[Step]) -> Mended {
    let Some((last, parents)) = path.split_last() else { return Mended::No };
    let Some(parent) = walk(tree, parents) else { return Mended::No };
    match (last, &mut parent.kind) {
        (Step::Name(name), Kind::Map(fields)) => match fields.iter().position(|field| field.name == *name) {
            Some(index) => {
                fields.remove(index);
                Mended::Dropped(Some((parents.to_vec(), name.clone())))
            }
            None => Mended::No,
        },
        (Step::Index(index), Kind::List(items)) if *index < items.len() => {
            items.remove(*index);
            Mended::Dropped(None)
        }
        _ => Mended::No,
    }
}

fn walk<'a>(tree: &'a mut Node, path: &[Step]) -> Option<&'a mut Node> {
    path.iter().try_fold(tree, |node, step| node.step_mut(step))
}

fn problem(error: &ShapeError, at: &[Step], path: &[Step], tree: &Node) -> Problem {
    let span = match &error.reason {
        // What lacks a field is a whole map: its name, or its first line, is shown.
        Reason::MissingField(_) => tree.locate(path),
        _ => error.span.unwrap_or(tree.span),
    };
    let words = [path_words(at, &Node::empty_map(tree.span)), path_words(path, tree)];
    let words: Vec<&str> = words.iter().map(String::as_str).filter(|words| !words.is_empty()).collect();
    let place = if words.is_empty() { "the specification".to_owned() } else { format!("`{}`", words.join(".")) };
    match &error.reason {
        Reason::UnknownField { name, known } => Problem::new(
            span,
            format!("unknown field `{name}` in {place}"),
            "no such field",
        )
        .help(suggest(name, known.iter().copied(), "known fields")),
        Reason::UnknownVariant { name, known } => {
            Problem::new(span, format!("unknown value {} of {place}", shown(name)), "not one of the known values")
                .help(suggest(name, known.iter().copied(), "known values"))
        }
        Reason::MissingField(name) => Problem::new(span, format!("{place} lacks the field `{name}`"), "in here")
            .help(format!("add `{name}: ...`; `qa schema` and specs/README.md say what it holds")),
        Reason::Type { found, expected } => {
            Problem::new(span, format!("{place} is of the wrong kind"), format!("expected {expected}, found {found}"))
        }
        Reason::Other(message) => Problem::new(span, format!("{place}: {message}"), "here"),
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = ShapeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        match &self.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(value) => visitor.visit_bool(*value),
            Kind::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), _, _) => visitor.visit_u64(value),
                (_, Some(value), _) => visitor.visit_i64(value),
                (_, _, value) => visitor.visit_f64(value.unwrap_or(f64::NAN)),
            },
            Kind::Text(text) if text.substituted => match scalar::resolve(&text.value) {
                Ok(Kind::Bool(value)) => visitor.visit_bool(value),
                Ok(kind @ Kind::Number(_)) => visit_owned(&Node { kind, span: self.span }, visitor),
                _ => visitor.visit_borrowed_str(&text.value),
            },
            Kind::Text(text) => visitor.visit_borrowed_str(&text.value),
            Kind::List(items) => visitor.visit_seq(Items { items, next: 0 }),
            Kind::Map(_) => visitor.visit_map(Fields { map: self, next: 0 }),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        match &self.kind {
            Kind::Text(text) => visitor.visit_borrowed_str(&text.value),
            Kind::Number(_) | Kind::Bool(_) => Err(ShapeError::of(Reason::Type {
                found: self.kind.words(),
                expected: "a string (quotes make one of it)".to_owned(),
            })),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ShapeError> {
        match self.kind {
            Kind::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ShapeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ShapeError> {
        match &self.kind {
            Kind::Text(text) => visitor.visit_enum(text.value.as_str().into_deserializer()),
            Kind::Map(fields) if fields.len() == 1 => visitor.visit_enum(Variant { map: self }),
            kind => Err(ShapeError::of(Reason::Type {
                found: kind.words(),
                expected: "one of its values, or a map of one of them and what belongs to it".to_owned(),
            })),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple tuple_struct
        map struct identifier ignored_any
    }
}

/// Hand a number that was just made to a visitor, which borrows nothing of it.
fn visit_owned<'de, V: Visitor<'de>>(node: &Node, visitor: V) -> Result<V::Value, ShapeError> {
    let Kind::Number(number) = &node.kind else { return visitor.visit_unit() };
    match (number.as_u64(), number.as_i64(), number.as_f64()) {
        (Some(value), _, _) => visitor.visit_u64(value),
        (_, Some(value), _) => visitor.visit_i64(value),
        (_, _, value) => visitor.visit_f64(value.unwrap_or(f64::NAN)),
    }
}

struct Items<'de> {
    items: &'de [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = ShapeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ShapeError> {
        let Some(item) = self.items.get(self.next) else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        seed.deserialize(item).map(Some).map_err(|error| error.below(index.into(), item.span))
    }
}

struct Fields<'de> {
    map: &'de Node,
    next: usize,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = ShapeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ShapeError> {
        let Some(field) = self.map.fields().get(self.next) else { return Ok(None) };
        let name = de::value::BorrowedStrDeserializer::<ShapeError>::new(&field.name);
        seed.deserialize(name).map(Some).map_err(|error| error.at(field.name_span))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ShapeError> {
        let Some(field) = self.map.fields().get(self.next) else {
            return Err(de::Error::custom("a value was asked for before its name"));
        };
        self.next += 1;
        seed.deserialize(&field.value).map_err(|error| error.below(field.name.as_str().into(), field.value.span))
    }
}

/// `name: body` as a variant with a body.
struct Variant<'de> {
    map: &'de Node,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = ShapeError;
    type Variant = Body<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Body<'de>), ShapeError> {
        let [field] = self.map.fields() else {
            return Err(de::Error::custom("expected one name"));
        };
        let name = de::value::BorrowedStrDeserializer::<ShapeError>::new(&field.name);
        let value = seed.deserialize(name).map_err(|error| error.at(field.name_span))?;
        Ok((value, Body { name: &field.name, value: &field.value }))
    }
}

struct Body<'de> {
    name: &'de str,
    value: &'de Node,
}

impl Body<'_> {
    fn place(&self, error: ShapeError) -> ShapeError {
        error.below(self.name.into(), self.value.span)
    }
}

impl<'de> VariantAccess<'de> for Body<'de> {
    type Error = ShapeError;

    fn unit_variant(self) -> Result<(), ShapeError> {
        let found = self.value.kind.words();
        let reason = Reason::Type { found, expected: format!("`{}` alone, without a value", self.name) };
        Err(self.place(ShapeError::of(reason)))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ShapeError> {
        seed.deserialize(self.value).map_err(|error| self.place(error))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ShapeError> {
        self.value.deserialize_any(visitor).map_err(|error| self.place(error))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, ShapeError> {
        self.value.deserialize_any(visitor).map_err(|error| self.place(error))
    }
}
