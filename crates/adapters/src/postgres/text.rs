//! Names and texts in SQL. What a server names can hold anything that its users typed.

/// An identifier in SQL: between double quotes, with those in it doubled. A zero byte cannot stand in a statement, so a name with
/// one is none of the server's; it is left out.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('\0', "").replace('"', "\"\""))
}

/// A text in SQL, whatever `standard_conforming_strings` says: with a backslash in it, in the escape form.
#[must_use]
pub fn quote_literal(text: &str) -> String {
    let text = text.replace('\0', "").replace('\'', "''");
    if text.contains('\\') { format!(" E'{}'", text.replace('\\', "\\\\")) } else { format!("'{text}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t24_no_name_and_no_text_leaves_its_quotes() {
        let cases = [
            ("plain", "\"plain\"", "'plain'"),
            ("", "\"\"", "''"),
            ("a\"b", "\"a\"\"b\"", "'a\"b'"),
            ("\"; DROP ROLE x; --", "\"\"\"; DROP ROLE x; --\"", "'\"; DROP ROLE x; --'"),
            ("a'b", "\"a'b\"", "'a''b'"),
            ("a\nb", "\"a\nb\"", "'a\nb'"),
            ("a\\'b", "\"a\\'b\"", " E'a\\\\''b'"),
            ("a\0b", "\"ab\"", "'ab'"),
            ("\u{202e}größe", "\"\u{202e}größe\"", "'\u{202e}größe'"),
        ];
        for (name, identifier, literal) in cases {
            assert_eq!(
                (quote_identifier(name).as_str(), quote_literal(name).as_str()),
                (identifier, literal)
            );
        }
    }
}
