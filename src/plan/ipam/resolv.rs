//! The syntax of `resolv.conf(5)`, as far as a CNI result has room for it.

use super::wrong;
use crate::model::fault::Outcome;
use crate::model::result::Dns;

/// Longest text read, in bytes.
pub const MAX_BYTES: usize = 64 << 10;

/// Reads the name service settings of a text. Lines that start with `#` or `;`, keywords without a value and unknown
/// keywords are passed over; of several `domain` lines the last holds, the others add up.
///
/// # Errors
/// A text longer than [`MAX_BYTES`].
pub fn parse(text: &str) -> Outcome<Dns> {
    if text.len() > MAX_BYTES {
        return Err(wrong(
            format!("the file of \"resolvConf\" is {} bytes long", text.len()),
            format!("name a file of at most {MAX_BYTES} bytes"),
        ));
    }
    Ok(text.lines().fold(Dns::default(), with_line))
}

fn with_line(mut dns: Dns, line: &str) -> Dns {
    let mut words = line.split_whitespace().map(str::to_owned);
    let Some(keyword) = words.next() else { return dns };
    match keyword.as_str() {
        "nameserver" => dns.nameservers.extend(words.next()),
        "domain" => dns.domain = words.next().unwrap_or(dns.domain),
        "search" => dns.search.extend(words),
        "options" => dns.options.extend(words),
        _ => {}
    }
    dns
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn settings_are_read_and_the_rest_is_passed_over() {
        let text = "# search no.example\n; domain no.example\n\nnameserver 192.0.2.1 # first\n  nameserver\t2001:db8::1\r\n\
                    domain old.example\ndomain example.com\nsearch a.example b.example\nsearch c.example\n\
                    options ndots:5 edns0\nsortlist 10.0.0.0\nnameserver\ndomain\nnameserver#3 192.0.2.3\n";

        let dns = parse(text).unwrap();

        assert_eq!(dns.nameservers, ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(dns.domain, "example.com");
        assert_eq!(dns.search, ["a.example", "b.example", "c.example"]);
        assert_eq!(dns.options, ["ndots:5", "edns0"]);
    }

    #[test]
    fn a_text_without_end_is_refused() {
        assert!(parse(&"#".repeat(MAX_BYTES)).is_ok());
        assert!(parse(&"#".repeat(MAX_BYTES + 1)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(nameserver|domain|search|options|#|;| |\\PC|\n){0,40}") {
            prop_assert!(parse(&text).is_ok());
        }
    }
}
