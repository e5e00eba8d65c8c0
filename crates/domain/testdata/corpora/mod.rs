//! The attacks of `injections.txt`, whose head says where each family was published. A module of tests in every crate that takes a
//! text from outside.

const FILE: &str = include_str!("injections.txt");

/// An attack.
pub(crate) struct Attack {
    /// Whose it is.
    pub(crate) family: &'static str,
    /// What is written.
    pub(crate) text: String,
}

impl Attack {
    /// Whether it is one word: it could stand where a name or a number is, and would be just that.
    pub(crate) fn is_word(&self) -> bool {
        self.text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:/@()+".contains(c))
    }
}

/// All of them: a file that lost lines is noticed.
pub(crate) fn attacks() -> Vec<Attack> {
    let lines = FILE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let attacks: Vec<_> = lines.map(attack).collect();
    let families: std::collections::BTreeSet<_> = attacks.iter().map(|attack| attack.family).collect();
    assert!(attacks.len() >= 110 && families.len() >= 20, "{} of {families:?}", attacks.len());
    for family in families {
        let named = FILE.lines().any(|line| line.starts_with(&format!("#   {family} ")));
        assert!(named, "`{family}` has no source");
    }
    attacks
}

fn attack(line: &'static str) -> Attack {
    let (family, text) = line.split_once(": ").unwrap_or_else(|| panic!("no family: {line}"));
    Attack { family, text: unescaped(text) }
}

fn unescaped(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let (escape, after) = after.split_at(1);
        rest = match escape {
            "\\" | "n" | "r" | "t" => {
                out.push_str(match escape {
                    "\\" => "\\",
                    "n" => "\n",
                    "r" => "\r",
                    _ => "\t",
                });
                after
            }
            _ => {
                let (hex, after) = after.strip_prefix('{').and_then(|hex| hex.split_once('}')).unwrap();
                out.push(char::from_u32(u32::from_str_radix(hex, 16).unwrap()).unwrap());
                after
            }
        };
    }
    out + rest
}
