//! Results of plugins, in every version of CNI and from one to the other; their errors.

use manifold::host::exec::answer;
use manifold::host::exec::excerpt::Excerpt;
use manifold::model::fault::ErrorReply;
use manifold::model::{CniResult, CniVersion, dialect};

pub(crate) fn run(data: &[u8]) {
    for version in CniVersion::ALL {
        if let Ok(result) = dialect::read(data, version) {
            kept(&result);
        }
    }
    if let Ok(error) = serde_json::from_slice::<ErrorReply>(data) {
        let again: ErrorReply = serde_json::from_slice(&serde_json::to_vec(&error).unwrap()).unwrap();
        assert_eq!(again, error);
    }
    if let Some(fault) = answer::refused(data, &Excerpt::of(data)) {
        // A message and details, each cut, and an excerpt whose control characters are spelled out.
        assert!(fault.to_reply().msg.len() < 64 << 10);
    }
}

/// A result that was read loses nothing in the newest version, and in older ones only once: what is read again there is
/// written to the letter.
pub(crate) fn kept(result: &CniResult) {
    for version in CniVersion::ALL {
        // Without an address there is nothing to say in the oldest two.
        let Ok(text) = dialect::write(result, version) else {
            assert!(version < CniVersion::V0_3_0);
            continue;
        };
        let again = dialect::read(&text, CniVersion::NEWEST).unwrap();
        if version >= CniVersion::V1_0_0 {
            assert_eq!(&again, result);
        }
        assert_eq!(
            String::from_utf8(dialect::write(&again, version).unwrap()).unwrap(),
            String::from_utf8(text).unwrap()
        );
        let raw = dialect::raw(result, version).unwrap();
        assert_eq!(dialect::read(raw.get().as_bytes(), version).unwrap(), again);
    }
    let record: CniResult = serde_json::from_slice(&serde_json::to_vec(result).unwrap()).unwrap();
    assert_eq!(&record, result);
}
