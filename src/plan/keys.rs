//! Keys that a configuration has and nobody reads: most of them are misspelt.

use serde_json::value::RawValue;

use crate::model::Object;

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

/// What is said of the keys of an object that are not known; `path` is where it stands, and empty at the top.
///
/// Keys of the name space that CNI reserves (`cni.dev/`), and those that begin with `_`, as comments do, are nobody's
/// mistake.
pub fn unknown(object: &Object, path: &str, known: &[&Known]) -> Vec<String> {
    let mut told = Vec::new();
    look_over(object, path, known, &mut told);
    if told.len() > MAX_TOLD {
        let more = told.len() - MAX_TOLD;
        told.truncate(MAX_TOLD);
        told.push(format!("{more} more keys have no effect"));
    }
    told
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

fn look_over(object: &Object, path: &str, known: &[&Known], told: &mut Vec<String>) {
    for (key, value) in object.iter().filter(|(key, value)| value.get() != "null" && may_be_wrong(key)) {
        let found = known.iter().find_map(|known| known.find(key));
        let place = if path.is_empty() { shown(key) } else { format!("{path}.{}", shown(key)) };
        match found {
            Some(Beneath::Nothing) => {}
            Some(Beneath::Keys(keys)) => {
                each_object(value, &mut |inner| look_over(inner, &place, &[keys], told))
            }
            None => {
                let names = known.iter().flat_map(|known| known.names());
                let hint = nearest(key, names).map(|name| format!("; did you mean {name:?}?"));
                let warning =
                    format!("{place:?} has no effect: there is no such key{}", hint.unwrap_or_default());
                // The ranges of a set all have the same keys.
                if !told.contains(&warning) {
                    told.push(warning);
                }
            }
        }
    }
}

fn may_be_wrong(key: &str) -> bool {
    !key.starts_with("cni.dev/") && !key.starts_with('_')
}

fn shown(key: &str) -> String {
    key.chars().take(MAX_KEY).collect()
}

/// Calls `look` with an object, or with each of a list, however deep.
fn each_object(value: &RawValue, look: &mut dyn FnMut(&Object)) {
    if let Ok(object) = serde_json::from_str::<Object>(value.get()) {
        look(&object);
    } else if let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(value.get()) {
        items.into_iter().for_each(|item| each_object(item, look));
    }
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
