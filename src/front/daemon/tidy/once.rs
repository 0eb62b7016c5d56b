//! A kept DEL is done by one alone, and before its sandbox is attached again: a container may be started anew under the id
//! that it had, and what is attached then is not what the DEL was about.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::spool::{self, Content};
use crate::front::daemon::call;
use crate::front::daemon::desk::Desk;
use crate::host::lock;
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::{Owner, thick::Spooled};

/// Does the DEL of an attachment that is kept, if there is one. No round of tidying up does it afterwards.
///
/// # Errors
/// As [`finish`].
pub(in crate::front::daemon) fn settle(desk: &Desk, Owner { container, ifname }: &Owner) -> Outcome<()> {
    let path = spool::path(&desk.settings.places.state_dir, &format!("{container}.{ifname}.json"));
    // What a later version keeps is that one's to do.
    finish(desk, &path, lock::LIMIT).map(drop).map_err(|fault| {
        fault.while_doing(format!("the DEL of sandbox {:?} that was kept comes first", container.as_str()))
    })
}

/// Does what is kept at a path, as if it came now, and removes it; where nothing is (any more), nothing is to be done. What
/// is no DEL is set aside by a name that is not read again. Answers with the format of one that is not ours.
///
/// # Errors
/// It failed, and stays; or somebody else is at it.
pub(super) fn finish(desk: &Desk, path: &Path, limit: Duration) -> Outcome<Option<u32>> {
    let Some(file) = take(path, limit)? else { return Ok(None) };
    match spool::read(&file) {
        Ok(Content::Del(del)) => done(desk, path, *del).map(|()| None),
        Ok(Content::Foreign(format)) => Ok(Some(format)),
        Err(cause) => {
            set_aside(path, &cause);
            Ok(None)
        }
    }
}

fn done(desk: &Desk, path: &Path, del: Spooled) -> Outcome<()> {
    if let Err(error) = call::again(desk, &del.env, del.config) {
        desk.metrics.spooled_failed.inc();
        return Err(Fault::new(FaultKind::TryLater, error.msg).remedy(error.details));
    }
    desk.metrics.spooled_done.inc();
    if let Err(cause) = fs::remove_file(path) {
        tracing::warn!("cannot remove {path:?}, whose DEL is done: {cause}");
    }
    Ok(())
}

/// The file at a path, locked, for one alone to do what it says.
fn take(path: &Path, limit: Duration) -> Outcome<Option<File>> {
    loop {
        let opened = File::open(path).map(|file| lock::exclusive(file, path, limit));
        let file = match opened {
            Ok(locked) => locked?,
            Err(cause) => {
                if cause.kind() != ErrorKind::NotFound {
                    set_aside(path, &cause);
                }
                return Ok(None);
            }
        };
        // Whoever had it may have done it; and a shim may have kept it once more.
        if file.metadata().is_ok_and(|meta| meta.nlink() > 0) {
            return Ok(Some(file));
        }
    }
}

fn set_aside(path: &Path, cause: &io::Error) {
    tracing::warn!("{path:?} is no DEL that was kept: {cause}");
    fs::rename(path, path.with_extension("unreadable")).unwrap_or_default();
}
