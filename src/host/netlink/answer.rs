//! What the kernel answers: the messages of a datagram, and which answer they make (`netlink(7)`).

use nix::libc;

use super::socket::{Answer, Refusal};
use super::wire::{Message, Told};
use crate::model::FaultKind;
use crate::model::fault::{Fault, Outcome};

/// Reads a datagram as the whole answer to one request that is acknowledged.
///
/// # Errors
/// It holds something that is no message.
pub fn whole(datagram: &[u8]) -> Outcome<Answer> {
    let mut pending = Pending::new(true);
    messages(datagram, |message| pending.take(message))?;
    Ok(pending.answer())
}

/// Hands over each message of a datagram, in order.
///
/// # Errors
/// What comes next is no message; those before it were handed over.
pub(super) fn messages(datagram: &[u8], mut each: impl FnMut(Message<'_>)) -> Outcome<()> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let (message, next) = Message::first(rest).ok_or_else(cut_off)?;
        each(message);
        rest = next;
    }
    Ok(())
}

/// The object in a datagram as the kernel sent it, without the netlink header, or the refusal; `None` if it belongs to
/// a request of another number.
///
/// # Errors
/// It is no message.
pub fn object(datagram: &[u8], sequence: u32) -> Outcome<Option<Result<Vec<u8>, Refusal>>> {
    let (message, _) = Message::first(datagram).ok_or_else(cut_off)?;
    if message.sequence != sequence {
        return Ok(None);
    }
    if i32::from(message.kind) != libc::NLMSG_ERROR {
        return Ok(Some(Ok(message.body.to_vec())));
    }
    Ok(message.refusal().map(Err))
}

fn cut_off() -> Fault {
    Fault::new(FaultKind::Kernel, "cannot read a netlink message").because("it is cut off")
}

/// What a message is.
pub(super) enum Said {
    /// An object.
    Object(Told),
    /// An acknowledgement or the end of a list, or a refusal.
    Ended(Option<Refusal>),
    /// Nothing that anybody asked for.
    Nothing,
}

impl Said {
    pub(super) fn by(message: Message<'_>) -> Self {
        match i32::from(message.kind) {
            libc::NLMSG_ERROR => Self::Ended(message.refusal()),
            libc::NLMSG_DONE => Self::Ended(message.broken_off()),
            libc::NLMSG_NOOP | libc::NLMSG_OVERRUN => Self::Nothing,
            _ => Self::Object(Told { kind: message.kind, body: message.body.to_vec() }),
        }
    }
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

    pub(super) fn take(&mut self, message: Message<'_>) {
        match Said::by(message) {
            Said::Object(told) => {
                self.done |= !self.acknowledged;
                if let Ok(all) = &mut self.answer {
                    all.push(told);
                }
            }
            Said::Ended(refusal) => {
                self.done = true;
                if let Some(refusal) = refusal {
                    self.answer = Err(refusal);
                }
            }
            Said::Nothing => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel sends of a list: one link, and the end with this code and words.
    fn list(code: i32, words: &[u8]) -> Vec<u8> {
        let mut end = code.to_ne_bytes().to_vec();
        if !words.is_empty() {
            end.extend(u16::try_from(4 + words.len()).unwrap().to_ne_bytes());
            end.extend(1_u16.to_ne_bytes());
            end.extend(words);
        }
        let done = u16::try_from(libc::NLMSG_DONE).unwrap();
        let mut datagram = Vec::new();
        Message { kind: libc::RTM_NEWLINK, flags: 2, sequence: 1, body: &[0; 16] }.append_to(&mut datagram);
        Message { kind: done, flags: 2, sequence: 1, body: &end }.append_to(&mut datagram);
        datagram
    }

    #[test]
    fn a_list_that_the_kernel_broke_off_is_refused() {
        let refusal = whole(&list(-libc::ENOMEM, b"no room\0")).unwrap().unwrap_err();

        assert_eq!(refusal, Refusal { errno: libc::ENOMEM, words: Some("no room".to_owned()) });
        assert_eq!(whole(&list(-libc::ENOMEM, b"")).unwrap().unwrap_err().words, None);
    }

    #[test]
    fn a_list_that_ends_is_whole() {
        assert_eq!(whole(&list(0, b"")).unwrap().unwrap().len(), 1);
    }
}
