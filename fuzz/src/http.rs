//! What the shim hears from a daemon, and what it tells the runtime of it.

use manifold::front::shim::{answer, http};
use manifold::model::call::Command;
use manifold::model::thick::MAX_ANSWER;
use manifold::model::{CniVersion, dialect};

pub(crate) fn run(data: &[u8]) {
    let Some(heard) = http::parse(data) else { return };
    assert!(heard.body.len() <= MAX_ANSWER.min(data.len()));
    let head = format!("HTTP/1.1 {} x\r\ncontent-length: {}\r\n\r\n", heard.code, heard.body.len());
    // Status codes have three digits, also those that begin with 0.
    if heard.code >= 100 {
        let again = http::parse(&[head.as_bytes(), &heard.body].concat());
        assert_eq!(again.as_ref(), Some(&heard));
    }
    for verb in Command::ALL {
        for version in CniVersion::ALL {
            if let Ok(told) = answer::read(verb, version, &heard)
                && !told.is_empty()
            {
                dialect::read(&told, version).unwrap();
            }
        }
    }
}
