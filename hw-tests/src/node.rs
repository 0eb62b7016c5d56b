//! A scratch node: network namespaces that play a node, its pods and its neighbours, and a folder for state.
//! All of it is gone when the value is dropped, whatever happened in between.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::command::Program;
use crate::link::{Link, links};
use crate::trouble::{Outcome, Trouble};

/// A network namespace with a name of its own, or the machine's.
pub(crate) struct Netns {
    /// Its name; the machine's has none.
    pub(crate) name: String,
}

/// A node.
pub(crate) struct Node {
    /// The namespace that plays the host's.
    pub(crate) own: Netns,
    folder: TempDir,
}

impl Node {
    /// A node without links.
    ///
    /// # Errors
    /// No namespace or folder could be made.
    pub(crate) fn new() -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix("hw-").tempdir();
        let folder = folder.map_err(Trouble::doing("cannot make a folder"))?;
        let own = Netns::new(format!("{}-node", last(folder.path())))?;
        Ok(Self { own, folder })
    }

    /// A node that is the machine itself, with its adapters: what the kernel does with the interfaces of a namespace that
    /// dies, it does to the machine's own.
    ///
    /// # Errors
    /// No folder could be made.
    pub(crate) fn of_machine() -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix("hw-").tempdir();
        let folder = folder.map_err(Trouble::doing("cannot make a folder"))?;
        Ok(Self { own: Netns { name: String::new() }, folder })
    }

    /// Another namespace of this node: a pod, or a neighbour.
    ///
    /// # Errors
    /// It could not be made.
    pub(crate) fn netns(&self, role: &str) -> Outcome<Netns> {
        Netns::new(format!("{}-{role}", last(self.folder.path())))
    }

    /// Lays a wire from `eth-a` on this node to `eth-b` at the far end, both up.
    ///
    /// # Errors
    /// The kernel refused.
    pub(crate) fn wire(&self, far: &Netns) -> Outcome<()> {
        self.own.ip(&format!("link add eth-a type veth peer name eth-b netns {}", far.name))?;
        self.own.ip("link set eth-a up")?;
        far.ip("link set eth-b up").map(|_| ())
    }

    /// The folder for the product's files, or one in it.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// The files on this node whose name or content has this text in it.
    ///
    /// # Errors
    /// The folder could not be read.
    pub(crate) fn traces(&self, text: &str) -> Outcome<Vec<PathBuf>> {
        let mut found = Vec::new();
        search(self.folder.path(), text, &mut found)
            .map_err(Trouble::doing("cannot look for what was left behind"))?;
        Ok(found)
    }
}

impl Netns {
    fn new(name: String) -> Outcome<Self> {
        Program::new(["ip", "netns", "add", &name]).output()?;
        let made = Self { name };
        made.ip("link set lo up")?;
        Ok(made)
    }

    /// Where its handle is.
    pub(crate) fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    /// Runs `ip` on it; the arguments are parted by blanks.
    ///
    /// # Errors
    /// `ip` failed.
    pub(crate) fn ip(&self, arguments: &str) -> Outcome<String> {
        let there = ["-n", self.name.as_str()].into_iter().filter(|_| !self.name.is_empty());
        Program::new(["ip"].into_iter().chain(there).chain(arguments.split_whitespace())).output()
    }

    /// A program that will run in it.
    pub(crate) fn program(&self, words: impl IntoIterator<Item = impl Into<OsString>>) -> Program {
        Program::new(self.entered(words))
    }

    /// The same for a program that may take so many seconds.
    pub(crate) fn program_within(
        &self,
        seconds: u32,
        words: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Program {
        Program::within(seconds, self.entered(words))
    }

    fn entered(&self, words: impl IntoIterator<Item = impl Into<OsString>>) -> Vec<OsString> {
        let enter = ["ip", "netns", "exec", &self.name].map(OsString::from);
        let enter = enter.into_iter().filter(|_| !self.name.is_empty());
        enter.chain(words.into_iter().map(Into::into)).collect()
    }

    /// Its links.
    ///
    /// # Errors
    /// `ip` failed, or said what cannot be read.
    pub(crate) fn links(&self) -> Outcome<Vec<Link>> {
        links(&self.ip("-details -json address show")?)
    }

    /// The link of this name.
    ///
    /// # Errors
    /// It is not there, or could not be asked for.
    pub(crate) fn link(&self, name: &str) -> Outcome<Link> {
        let found = self.links()?.into_iter().find(|link| link.name() == name);
        found.ok_or_else(|| Trouble::new(format!("there is no link {name:?} in {}", self.name)))
    }

    /// The names of its links, sorted.
    ///
    /// # Errors
    /// As [`Self::links`].
    pub(crate) fn names(&self) -> Outcome<Vec<String>> {
        let mut names: Vec<String> = self.links()?.iter().map(|link| link.name().to_owned()).collect();
        names.sort();
        Ok(names)
    }

    /// The processes in it.
    ///
    /// # Errors
    /// `ip` failed.
    pub(crate) fn processes(&self) -> Outcome<String> {
        Program::new(["ip", "netns", "pids", &self.name]).output()
    }

    /// Whether this address answers a ping from here.
    ///
    /// # Errors
    /// `ping` could not be run.
    pub(crate) fn reaches(&self, address: &str) -> Outcome<bool> {
        let ran = self.program(["ping", "-c", "3", "-i", "0.3", "-W", "1", address]).run()?;
        match ran.status {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            Some(_) | None => {
                Err(Trouble::new(format!("cannot ping {address:?}: {}{}", ran.output, ran.complaint)))
            }
        }
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if self.name.is_empty() {
            return;
        }
        // A name that is left behind in a scratch namespace disturbs nobody, and there is nobody to tell.
        Program::new(["ip", "netns", "delete", &self.name]).run().ok();
    }
}

/// The last part of a path.
fn last(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Adds the files below a folder that have the text in their name or content.
fn search(folder: &Path, text: &str, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            search(&path, text, found)?;
        } else if last(&path).contains(text) || content(&path)?.contains(text) {
            found.push(path);
        }
    }
    Ok(())
}

/// What is in a file, or where a link points to: a claim is a link that leads to no file.
fn content(path: &Path) -> std::io::Result<String> {
    match std::fs::read_link(path) {
        Ok(target) => Ok(target.to_string_lossy().into_owned()),
        Err(_) => Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned()),
    }
}
