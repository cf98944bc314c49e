//! As much XML as S3 speaks: elements with text, no attributes that matter.

use std::fmt::Write as _;

/// An element: its name without a prefix, its text, its children.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) children: Vec<Self>,
}

impl Element {
    /// The children of this name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of the first child of this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.children.iter().find(|child| child.name == name).map(|child| child.text.as_str())
    }

    fn seek(&self, name: &str) -> Option<&Self> {
        if self.name == name { Some(self) } else { self.children.iter().find_map(|child| child.seek(name)) }
    }
}

/// The root of a document; `None` when it is not XML.
pub(super) fn parse(text: &str) -> Option<Element> {
    let mut open = vec![Element::default()];
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let (before, tag) = rest.split_at(start);
        open.last_mut()?.text.push_str(&unescaped(before));
        let (inside, behind) = tag.strip_prefix('<')?.split_once('>')?;
        rest = behind;
        if inside.starts_with(['?', '!']) {
            continue;
        }
        if inside.starts_with('/') {
            let closed = open.pop()?;
            open.last_mut()?.children.push(closed);
            continue;
        }
        let name = inside.trim_end_matches('/').split_ascii_whitespace().next()?;
        let name = name.rsplit(':').next().unwrap_or(name).to_owned();
        let element = Element { name, ..Element::default() };
        if inside.ends_with('/') {
            open.last_mut()?.children.push(element);
        } else {
            open.push(element);
        }
    }
    let mut root = open.pop().filter(|_| open.is_empty())?;
    (root.children.len() == 1).then(|| root.children.swap_remove(0))
}

/// The text of the first element of this name, wherever it is.
pub(super) fn first(document: &str, name: &str) -> Option<String> {
    parse(document)?.seek(name).map(|element| element.text.trim().to_owned())
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, entity)) = rest.split_once('&') {
        out.push_str(before);
        let Some((name, behind)) = entity.split_once(';') else {
            out.push('&');
            rest = entity;
            break;
        };
        let number = name.strip_prefix("#x").map(|hex| u32::from_str_radix(hex, 16));
        let number = number.or_else(|| name.strip_prefix('#').map(str::parse));
        match (name, number) {
            ("lt", _) => out.push('<'),
            ("gt", _) => out.push('>'),
            ("amp", _) => out.push('&'),
            ("quot", _) => out.push('"'),
            ("apos", _) => out.push('\''),
            (_, Some(Ok(number))) => out.extend(char::from_u32(number)),
            _ => out.extend(["&", name, ";"]),
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// A text as it stands in an element.
pub(super) fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, character| {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\u{0}'..='\u{1f}' => {
                write!(out, "&#x{:X};", u32::from(character)).expect("a string takes everything");
            }
            other => out.push(other),
        }
        out
    })
}

/// A document under construction.
#[derive(Debug)]
pub(super) struct Writer(String, Vec<&'static str>);

impl Writer {
    /// A document with this root.
    pub(super) fn new(root: &'static str) -> Self {
        let head = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
        );
        Self(head, vec![root])
    }

    pub(super) fn open(&mut self, name: &'static str) {
        self.raw(&format!("<{name}>"));
        self.1.push(name);
    }

    pub(super) fn close(&mut self) {
        if let Some(name) = self.1.pop() {
            self.raw(&format!("</{name}>"));
        }
    }

    pub(super) fn field(&mut self, name: &str, value: impl std::fmt::Display) {
        let text = escaped(&value.to_string());
        self.raw(&format!("<{name}>{text}</{name}>"));
    }

    pub(super) fn some(&mut self, name: &str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            self.field(name, value);
        }
    }

    pub(super) fn raw(&mut self, text: &str) {
        self.0.push_str(text);
    }

    pub(super) fn done(mut self) -> String {
        while !self.1.is_empty() {
            self.close();
        }
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut writer = Writer::new("A");
        writer.open("B");
        writer.field("Key", "a<&>\"\n\u{1}é");
        writer.close();
        writer.some("None", None::<u8>);
        let root = parse(&writer.done()).unwrap();
        assert_eq!(root.all("B").next().unwrap().get("Key"), Some("a<&>\"\n\u{1}é"));
        assert_eq!(first("<x:R><E/><F>1</F></x:R>", "F").as_deref(), Some("1"));
        assert_eq!(parse("<A><B></A>"), None);
        assert_eq!(parse("no"), None);
    }
}
