//! What is wrong with JSON, in the words of those who write it: `serde` names the types of this program.

/// What `serde` said, without the names of types.
pub(super) fn plain(told: &str) -> String {
    let Some((head, tail)) = told.rsplit_once(", expected ") else { return told.to_owned() };
    let (wanted, place) = match tail.find(" at line ") {
        Some(at) => tail.split_at(at),
        None => (tail, ""),
    };
    let wanted = match wanted {
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "u8" | "u16" | "u32" | "u64" => "a whole number, 0 or more, that is not too large",
        "a sequence" => "a list",
        "a map" => "an object",
        name if name.starts_with("struct ") => "an object",
        other => other,
    };
    format!("{head}, expected {wanted}{place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_names_that_people_know() {
        for (told, said) in [
            (
                "invalid type: string \"5\", expected i64",
                "invalid type: string \"5\", expected a whole number",
            ),
            (
                "invalid value: integer `-1`, expected u32",
                "invalid value: integer `-1`, expected a whole number, 0 or more, that is not too large",
            ),
            (
                "invalid type: map, expected a sequence at line 1 column 0",
                "invalid type: map, expected a list at line 1 column 0",
            ),
            ("invalid type: null, expected struct RouteConf", "invalid type: null, expected an object"),
            ("invalid type: null, expected a string", "invalid type: null, expected a string"),
            ("missing field `dst`", "missing field `dst`"),
            (
                "invalid type: string \", expected i64\", expected a boolean",
                "invalid type: string \", expected i64\", expected a boolean",
            ),
        ] {
            assert_eq!(plain(told), said);
        }
    }
}
