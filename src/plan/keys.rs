//! Keys that a configuration has and nobody reads: most of them are misspelt.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::Object;
use crate::model::folded::Key;

/// Most keys of one configuration that are told.
const MAX_TOLD: usize = 8;
/// Longest key that is told, and that others are compared with, in characters.
const MAX_KEY: usize = 48;

/// The keys of every native plugin: those that CNI has for itself, and what is put into configurations of any type.
pub const EVERYWHERE: Known = Known {
    plain: &[
        "args",
        "capabilities",
        "cniVersion",
        "cniVersions",
        "deviceID",
        "disableCheck",
        "disableGC",
        "loadOnlyInlinedPlugins",
        "name",
        "native",
        "pciBusID",
        "prevResult",
        "runtimeConfig",
        "type",
    ],
    objects: &[],
};

/// The keys of a list of plugins.
pub const OF_A_LIST: Known = Known {
    plain: &[
        "cniVersion",
        "cniVersions",
        "disableCheck",
        "disableGC",
        "loadOnlyInlinedPlugins",
        "name",
        "plugins",
    ],
    objects: &[],
};

/// The keys of the program itself, where it plays the part of one plugin.
pub const OF_THE_PROGRAM: Known = Known {
    plain: &[
        "binDir",
        "cniDir",
        "confDir",
        "deviceInfoDir",
        "kubeletDir",
        "logFile",
        "logFormat",
        "logLevel",
        "logOptions",
        "logToStderr",
        "stateDir",
        "vhostUser",
    ],
    objects: &[],
};

/// Keys that are read, spelled as the pages spell them.
#[derive(Debug)]
pub struct Known {
    /// Those whose value has no keys, or keys that are not ours to know.
    pub plain: &'static [&'static str],
    /// Those whose value has these keys, or is a list of such values.
    pub objects: &'static [(&'static str, &'static Known)],
}

/// What is said of the keys of an object that are not known.
///
/// Keys of the name space that CNI reserves (`cni.dev/`), and those that begin with `_`, as comments do, are nobody's
/// mistake.
pub fn unknown(object: &Object, known: &[&Known]) -> Vec<String> {
    let mut told = Told::default();
    let mut look = Look { path: "", known, told: &mut told };
    object.iter().for_each(|(key, value)| look.at(key, value));
    told.lines()
}

/// The same of a value's keys; `path` is where it stands.
pub fn unknown_in(value: &RawValue, path: &str, known: &[&Known]) -> Vec<String> {
    let mut told = Told::default();
    Look { path, known, told: &mut told }.over(value);
    told.lines()
}

/// Of some names, the one that was probably meant by `written`.
pub fn nearest<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let letters = |name: &str| name.to_ascii_lowercase().chars().take(MAX_KEY).collect::<Vec<_>>();
    let written = letters(written);
    let far = |name: &str| {
        let name = letters(name);
        let distance = distance(&written, &name);
        // One letter of three may be wrong.
        (distance * 3 <= name.len().max(written.len())).then_some(distance)
    };
    names.filter_map(|name| far(name).map(|distance| (distance, name))).min().map(|(_, name)| name)
}

/// What was found, each once.
#[derive(Default)]
struct Told {
    lines: Vec<String>,
    /// How many keys came after those.
    more: usize,
}

impl Told {
    fn lines(mut self) -> Vec<String> {
        if self.more > 0 {
            self.lines.push(format!("{} more keys have no effect", self.more));
        }
        self.lines
    }
}

/// A look over the keys of a value, and of the values beneath them. Of what is right nothing is copied.
struct Look<'a> {
    /// Where the value stands; empty at the top.
    path: &'a str,
    known: &'a [&'a Known],
    told: &'a mut Told,
}

impl Look<'_> {
    /// Looks over an object, or each of a list, however deep.
    fn over(self, value: &RawValue) {
        // It is JSON: what is refused lies too deep for anybody to read it.
        drop(self.deserialize(&mut serde_json::Deserializer::from_str(value.get())));
    }

    fn at(&mut self, key: &str, value: &RawValue) {
        if value.get() == "null" || !may_be_wrong(key) {
            return;
        }
        match self.known.iter().find_map(|known| known.find(key)) {
            Some(Beneath::Nothing) => {}
            Some(Beneath::Keys(keys)) => {
                Look { path: &self.place(key), known: &[keys], told: self.told }.over(value);
            }
            None if self.told.lines.len() >= MAX_TOLD => self.told.more += 1,
            None => {
                let names = self.known.iter().flat_map(|known| known.names());
                let hint = nearest(key, names).map(|name| format!("; did you mean {name:?}?"));
                let place = self.place(key);
                let line =
                    format!("{place:?} has no effect: there is no such key{}", hint.unwrap_or_default());
                // The ranges of a set all have the same keys.
                if !self.told.lines.contains(&line) {
                    self.told.lines.push(line);
                }
            }
        }
    }

    fn place(&self, key: &str) -> String {
        if self.path.is_empty() { shown(key) } else { format!("{}.{}", self.path, shown(key)) }
    }
}

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &RawValue>()? {
            self.at(&key, value);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { path, known, told } = self;
        while items.next_element_seed(Look { path, known, told })?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

fn may_be_wrong(key: &str) -> bool {
    !key.starts_with("cni.dev/") && !key.starts_with('_')
}

fn shown(key: &str) -> String {
    key.chars().take(MAX_KEY).collect()
}

/// What is beneath a key.
enum Beneath {
    Nothing,
    Keys(&'static Known),
}

impl Known {
    /// Settings of the name service.
    pub const DNS: Self = Self { plain: &["domain", "nameservers", "options", "search"], objects: &[] };

    fn find(&self, key: &str) -> Option<Beneath> {
        let plain = self.plain.iter().find(|name| name.eq_ignore_ascii_case(key)).map(|_| Beneath::Nothing);
        let object = || self.objects.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
        plain.or_else(|| object().map(|(_, keys)| Beneath::Keys(keys)))
    }

    /// All its keys.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.plain.iter().copied().chain(self.objects.iter().map(|(name, _)| *name))
    }
}

/// How many letters must be put in, left out or changed to make one text of the other (Levenshtein's distance).
fn distance(one: &[char], other: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (number, letter) in (1..).zip(one) {
        // What lies diagonally before, above and left of the next place.
        let mut left = number;
        let mut next = vec![left];
        for ((diagonal, above), beside) in row.iter().zip(row.iter().skip(1)).zip(other) {
            let changed = diagonal + usize::from(letter != beside);
            left = changed.min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests;
