//! The note beside a socket.

use crate::engine::ports::Site;
use crate::host::socket_dir::{self, SocketDir};
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};
use crate::plan::note;
use crate::plan::port::NoteStep;
use crate::plan::step::Progress;

/// Writes it, with the addresses that came out.
pub(super) fn apply(site: Site<'_>, step: &NoteStep, progress: &mut Progress) -> Outcome<()> {
    let result = progress.result.get_or_insert_default();
    let Some(home) = &step.home else { return Ok(()) };
    let mut text =
        serde_json::to_vec_pretty(&note::text(site.attachment, &step.note, result)).map_err(|cause| {
            Fault::new(FaultKind::Decode, "cannot write the note of the socket").because(cause)
        })?;
    text.push(b'\n');
    SocketDir::make(home)?.write(&step.file, &text)
}

/// Removes it.
pub(super) fn revert(step: &NoteStep) -> Outcome<()> {
    let Some(home) = &step.home else { return Ok(()) };
    if let Some(dir) = SocketDir::open(home)? {
        dir.remove_file(&step.file)?;
    }
    socket_dir::leave(home)
}
