//! A kubeconfig: the cluster and the user of its current context.
//!
//! It is read from plain values: the library decodes YAML straight into a dozen types of its own, each by code made for
//! it, which is half a megabyte for a file of thirty lines.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::host::conf_dir;
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};

/// What counts of a kubeconfig.
///
/// # Guarantees
/// Nothing of its contents is in a fault, but names of contexts and clusters.
pub(super) struct Kubeconfig {
    /// Where the API server is.
    pub(super) cluster: Section,
    /// How to log in; empty if the context names nobody, or somebody unknown.
    pub(super) user: Section,
}

/// One object in a kubeconfig. What is empty or `null` counts as absent, as in the cluster's own programs.
#[derive(Default)]
pub(super) struct Section {
    pub(super) entries: Map<String, Value>,
    source: PathBuf,
}

impl Kubeconfig {
    /// Reads the one in a file. Of several documents in it, the first that names something counts.
    ///
    /// # Errors
    /// It cannot be read ([`FaultKind::Io`]), is malformed ([`FaultKind::Decode`]), or names no cluster
    /// ([`FaultKind::Config`]).
    pub(super) fn read(path: &Path) -> Outcome<Self> {
        let documents = documents(path)?;
        let wrong = |why: String| incomplete(path, why);
        let (contexts, clusters) = (named(&documents, "contexts")?, named(&documents, "clusters")?);
        let users = named(&documents, "users")?;
        let pick = |all: &[(String, Value)], name: &str, key: &str| match all.iter().find(|one| one.0 == name)
        {
            Some((_, entry)) => documents.section(entry.get(key)),
            None => Ok(None),
        };
        let mut current = None;
        for document in &documents.all {
            current = current.or(document.text("current-context")?);
        }
        let name = current.ok_or_else(|| wrong("it has no \"current-context\"".to_owned()))?;
        let context = pick(&contexts, name, "context")?
            .ok_or_else(|| wrong(format!("its current context, {name:?}, is not in it")))?;
        let cluster = context.text("cluster")?.unwrap_or_default();
        let user = context.text("user")?.unwrap_or_default();
        Ok(Self {
            cluster: pick(&clusters, cluster, "cluster")?
                .ok_or_else(|| wrong(format!("cluster {cluster:?} is not in it")))?,
            user: pick(&users, user, "user")?.unwrap_or_default(),
        })
    }

    /// The files that are named, by the name each is to be read under.
    pub(super) fn files(&self) -> Outcome<Vec<PathBuf>> {
        let named = [
            self.cluster.file("certificate-authority")?,
            self.user.file("client-certificate")?,
            self.user.file("client-key")?,
        ];
        Ok(named.into_iter().flatten().map(PathBuf::from).collect())
    }
}

impl Section {
    /// A text.
    pub(super) fn text(&self, key: &str) -> Outcome<Option<&str>> {
        match self.entries.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Err(malformed(&self.source, format!("{key:?} is no text")))
            }
        }
    }

    /// The name of a file, which may be relative to the folder of the kubeconfig.
    pub(super) fn file(&self, key: &str) -> Outcome<Option<String>> {
        let folder = self.source.parent().unwrap_or(Path::new(""));
        Ok(self.text(key)?.map(|name| folder.join(name).display().to_string()))
    }

    /// Whether something is switched on.
    pub(super) fn flag(&self, key: &str) -> Outcome<bool> {
        match self.entries.get(key) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(on)) => Ok(*on),
            Some(Value::String(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Err(malformed(&self.source, format!("{key:?} is neither true nor false")))
            }
        }
    }

    /// Whether there is anything.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|value| !value.is_null())
    }
}

/// The documents of one file.
struct Documents {
    all: Vec<Section>,
    source: PathBuf,
}

impl Documents {
    /// The object that a value is; `None` for nothing.
    fn section(&self, value: Option<&Value>) -> Outcome<Option<Section>> {
        match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(entries)) => {
                Ok(Some(Section { entries: entries.clone(), source: self.source.clone() }))
            }
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                Err(malformed(&self.source, "what it holds has another shape".to_owned()))
            }
        }
    }
}

fn documents(path: &Path) -> Outcome<Documents> {
    let text = conf_dir::read(path).and_then(|bytes| String::from_utf8(bytes).map_err(std::io::Error::other));
    let text = text.map_err(|cause| {
        about(path, FaultKind::Io, "cannot read")
            .because(cause)
            .remedy("correct the name of the file, or leave it out to work without a cluster")
    })?;
    let text = text.trim_start_matches('\u{feff}');
    let values: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|cause| {
        // The library's words may quote a secret.
        let place = cause.location().map(|at| format!("line {}, column {}", at.line(), at.column()));
        malformed(path, place.unwrap_or_else(|| "it is no YAML".to_owned()))
    })?;
    let mut documents = Documents { all: Vec::new(), source: path.to_owned() };
    for value in &values {
        let section = documents.section(Some(value))?;
        documents.all.extend(section);
    }
    Ok(documents)
}

/// The entries of a list in all documents, by name.
fn named(documents: &Documents, list: &str) -> Outcome<Vec<(String, Value)>> {
    let malformed = || malformed(&documents.source, format!("{list:?} is no list of named things"));
    let mut all = Vec::new();
    for document in &documents.all {
        let entries = match document.entries.get(list) {
            None | Some(Value::Null) => continue,
            Some(entries) => entries.as_array().ok_or_else(malformed)?,
        };
        for entry in entries {
            let name = entry.get("name").and_then(Value::as_str).ok_or_else(malformed)?;
            all.push((name.to_owned(), entry.clone()));
        }
    }
    Ok(all)
}

/// A kubeconfig that can be read, and lacks something or says what cannot be.
pub(super) fn incomplete(path: &Path, why: String) -> Fault {
    about(path, FaultKind::Config, "incomplete or wrong").because(why).remedy("correct the file")
}

fn malformed(path: &Path, why: String) -> Fault {
    about(path, FaultKind::Decode, "malformed").because(why).remedy("correct the file")
}

fn about(path: &Path, kind: FaultKind, what: &str) -> Fault {
    Fault::new(kind, format!("{what} kubeconfig {path:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Outcome<Kubeconfig> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        std::fs::write(&path, text).unwrap();
        Kubeconfig::read(&path)
    }

    const TWO: &str = "\u{feff}kind: Config\ncurrent-context: b\nclusters: [{name: one, cluster: {server: 'https://1'}}]\n\
        contexts: [{name: a, context: {cluster: one, user: u}}]\nusers: null\n---\n\
        current-context: a\nclusters: [{name: one, cluster: {server: 'https://late'}}]\n\
        contexts: [{name: b, context: {cluster: one, user: nobody}}]\n---\n";

    #[test]
    fn of_several_documents_the_first_that_names_something_counts() {
        let read = read(TWO).unwrap();

        assert_eq!(read.cluster.text("server").unwrap(), Some("https://1"));
        assert!(read.user.entries.is_empty());
    }

    #[test]
    fn what_is_null_or_empty_is_absent_and_files_are_beside_the_kubeconfig() {
        let read = read(
            "{current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}], clusters: [{name: c, cluster: \
             {certificate-authority: '', insecure-skip-tls-verify: null}}], users: [{name: u, user: {exec: null, \
             client-key: /abs/key, client-certificate: it.crt, token: ''}}]}",
        )
        .unwrap();

        assert_eq!(read.cluster.file("certificate-authority").unwrap(), None);
        assert!(!read.cluster.flag("insecure-skip-tls-verify").unwrap());
        assert!(!read.user.has("exec"));
        assert_eq!(read.user.text("token").unwrap(), None);
        assert_eq!(read.user.file("client-key").unwrap().as_deref(), Some("/abs/key"));
        let beside = read.user.source.with_file_name("it.crt");
        assert_eq!(read.files().unwrap(), [beside, PathBuf::from("/abs/key")]);
    }

    #[test]
    fn what_is_missing_or_of_another_shape_is_told() {
        let contexts = "current-context: c\ncontexts: [{name: c, context: {cluster: x}}]\n";
        for (text, kind, said) in [
            ("", FaultKind::Config, "current-context"),
            ("current-context: c", FaultKind::Config, "its current context, \"c\""),
            (contexts, FaultKind::Config, "cluster \"x\""),
            ("current-context: [secret]", FaultKind::Decode, "\"current-context\" is no text"),
            ("- secret", FaultKind::Decode, "another shape"),
            ("users: {secret: 1}", FaultKind::Decode, "\"users\" is no list"),
            ("clusters: [secret]", FaultKind::Decode, "\"clusters\" is no list"),
            ("a: 1\n  secret: [", FaultKind::Decode, "line "),
        ] {
            let fault = read(text).err().unwrap();

            assert_eq!(fault.kind(), kind, "{text}");
            let told = format!("{fault} {fault:?} {:?}", fault.to_reply());
            assert!(told.contains(said), "{told}");
            assert!(!told.contains("secret"), "{told}");
        }
    }
}
