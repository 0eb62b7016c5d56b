//! Netlink messages as they come: what is in a datagram, and which answer it makes (`netlink(7)`).

use netlink_packet_core::{
    DecodeError, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage as Message;

use super::socket::{Answer, Refusal};
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};

/// Length of a message's header.
const HEADER: usize = 16;

/// Reads a datagram as the whole answer to one request that is acknowledged.
///
/// # Errors
/// It holds something that is no message.
pub fn answer(datagram: &[u8]) -> Outcome<Answer> {
    let mut pending = Pending::new(true);
    messages(datagram, |_, payload| pending.take(payload))?;
    Ok(pending.answer())
}

/// Hands over each message of a datagram, in order.
///
/// # Errors
/// What comes next is no message; those before it were handed over.
pub(super) fn messages(
    datagram: &[u8],
    mut each: impl FnMut(&NetlinkHeader, NetlinkPayload<Message>),
) -> Outcome<()> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let length = NetlinkBuffer::new_checked(&rest).map_err(undecodable)?.length() as usize;
        let message = NetlinkMessage::<Message>::deserialize(rest).map_err(undecodable)?;
        each(&message.header, message.payload);
        rest = rest.get(length.next_multiple_of(4).max(HEADER)..).unwrap_or_default();
    }
    Ok(())
}

/// The object in a datagram as the kernel sent it, without the netlink header, or the refusal; `None` if it belongs to
/// a request of another number.
///
/// # Errors
/// It is no message.
pub fn object(datagram: &[u8], sequence: u32) -> Outcome<Option<Result<Vec<u8>, Refusal>>> {
    let buffer = NetlinkBuffer::new_checked(&datagram).map_err(undecodable)?;
    if buffer.sequence_number() != sequence {
        return Ok(None);
    }
    if buffer.message_type() != NLMSG_ERROR {
        let object = datagram.get(HEADER..buffer.length() as usize).unwrap_or_default();
        return Ok(Some(Ok(object.to_vec())));
    }
    let error = NetlinkMessage::<Message>::deserialize(datagram).map_err(undecodable)?;
    let NetlinkPayload::Error(error) = error.payload else { return Ok(None) };
    let errno = error.code.map(|code| code.get().saturating_abs()).unwrap_or_default();
    Ok(Some(Err(Refusal { errno, words: words(&error.header) })))
}

fn undecodable(cause: DecodeError) -> Fault {
    Fault::new(FaultKind::Kernel, "cannot read a netlink message").because(cause)
}

/// A request whose answer has not come in full.
pub(super) struct Pending {
    /// Whether the answer ends with an acknowledgement or an end-of-dump, not with the object itself.
    acknowledged: bool,
    answer: Answer,
    done: bool,
}

impl Pending {
    pub(super) fn new(acknowledged: bool) -> Self {
        Self { acknowledged, answer: Ok(Vec::new()), done: false }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    pub(super) fn answer(self) -> Answer {
        self.answer
    }

    pub(super) fn take(&mut self, payload: NetlinkPayload<Message>) {
        match payload {
            NetlinkPayload::InnerMessage(message) => {
                self.done |= !self.acknowledged;
                if let Ok(messages) = &mut self.answer {
                    messages.push(message);
                }
            }
            NetlinkPayload::Error(error) => {
                self.done = true;
                if let Some(code) = error.code {
                    self.answer =
                        Err(Refusal { errno: code.get().saturating_abs(), words: words(&error.header) });
                }
            }
            NetlinkPayload::Done(_) => self.done = true,
            _ => {}
        }
    }
}

/// The kernel's words in what follows the header of the refused request: attribute 1, `NLMSGERR_ATTR_MSG`.
fn words(after_code: &[u8]) -> Option<String> {
    let mut rest = after_code.get(HEADER..)?;
    loop {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let (kind, tail) = tail.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_ne_bytes(*length));
        if u16::from_ne_bytes(*kind) & 0x3fff == 1 {
            let text = tail.get(..length.checked_sub(4)?)?;
            return Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
        }
        rest = rest.get(length.next_multiple_of(4).max(4)..)?;
    }
}
