//! Canonical JSON: the published vectors, and what has no canonical form.

use holdpoint_domain::{
    Digest,
    digest::canonical,
    trigger::{Reading, Truth, Why},
};
use proptest::prelude::*;
use serde_json::Value;

use super::{
    properties::any_facts,
    support::{id, ms},
};

/// Input and output of the reference test data for RFC 8785, in
/// <https://github.com/cyberphone/json-canonicalization>, folder `testdata`; hidden characters are written as escapes.
const VECTORS: [(&str, &str, &str); 6] = [
    ("arrays", r#"[ 56, { "d": true, "10": null, "1": [ ] } ]"#, r#"[56,{"1":[],"10":null,"d":true}]"#),
    (
        "french",
        r#"{ "peach": "This sorting order", "péché": "is wrong according to French",
             "pêche": "but canonicalization MUST", "sin":   "ignore locale" }"#,
        r#"{"peach":"This sorting order","péché":"is wrong according to French","pêche":"but canonicalization MUST","sin":"ignore locale"}"#,
    ),
    (
        "structures",
        r#"{ "1": {"f": {"f": "hi","F": 5} ,"\n": 56.0}, "10": { }, "": "empty", "a": { },
             "111": [ {"e": "yes","E": "no" } ], "A": { } }"#,
        r#"{"":"empty","1":{"\n":56,"f":{"F":5,"f":"hi"}},"10":{},"111":[{"E":"no","e":"yes"}],"A":{},"a":{}}"#,
    ),
    ("unicode", r#"{ "Unnormalized Unicode":"A\u030a" }"#, "{\"Unnormalized Unicode\":\"A\u{30a}\"}"),
    (
        "values",
        r#"{ "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
             "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false] }"#,
        r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#,
    ),
    (
        "weird",
        r#"{ "\u20ac": "Euro Sign", "\r": "Carriage Return", "\u000a": "Newline", "1": "One", "\u0080": "Control\u007f",
             "\ud83d\ude02": "Smiley", "\u00f6": "Latin Small Letter O With Diaeresis",
             "\ufb33": "Hebrew Letter Dalet With Dagesh", "</script>": "Browser Challenge" }"#,
        concat!(
            r#"{"\n":"Newline","\r":"Carriage Return","1":"One","</script>":"Browser Challenge","#,
            "\"\u{80}\":\"Control\u{7f}\",\"\u{f6}\":\"Latin Small Letter O With Diaeresis\",\"\u{20ac}\":\"Euro Sign\",",
            "\"\u{1f602}\":\"Smiley\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}"
        ),
    ),
];

/// IEEE 754 bits and their text: RFC 8785, appendix B.
const NUMBERS: [(u64, &str); 23] = [
    (0x0000_0000_0000_0000, "0"),
    (0x8000_0000_0000_0000, "0"),
    (0x0000_0000_0000_0001, "5e-324"),
    (0x8000_0000_0000_0001, "-5e-324"),
    (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
    (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
    (0x4340_0000_0000_0000, "9007199254740992"),
    (0xc340_0000_0000_0000, "-9007199254740992"),
    (0x4430_0000_0000_0000, "295147905179352830000"),
    (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
    (0x44b5_2d02_c7e1_4af6, "1e+23"),
    (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
    (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
    (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
    (0x444b_1ae4_d6e2_ef50, "1e+21"),
    (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
    (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
    (0x41b3_de43_5555_5553, "333333333.3333332"),
    (0x41b3_de43_5555_5554, "333333333.33333325"),
    (0x41b3_de43_5555_5555, "333333333.3333333"),
    (0x41b3_de43_5555_5556, "333333333.3333334"),
    (0x41b3_de43_5555_5557, "333333333.33333343"),
    (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
];

fn text(value: &Value) -> String {
    String::from_utf8(canonical(value).unwrap()).unwrap()
}

#[test]
fn the_vectors_of_rfc_8785() {
    for (name, input, output) in VECTORS {
        let value: Value = serde_json::from_str(input).unwrap();
        assert_eq!(text(&value), output, "{name}");
        let again: Value = serde_json::from_str(output).unwrap();
        assert_eq!(text(&again), output, "{name}: the output is its own canonical form");
        assert_eq!(Digest::of(&value).unwrap(), Digest::of_bytes(output.as_bytes()), "{name}");
    }
}

#[test]
fn the_numbers_of_rfc_8785() {
    for (bits, output) in NUMBERS {
        let number = f64::from_bits(bits);
        assert_eq!(String::from_utf8(canonical(&number).unwrap()).unwrap(), output, "{bits:016x}");
    }
    for number in [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(canonical(&number).is_err(), "{number} has a canonical form");
        // serde_json would write `null` for one inside a value; the one float of ours that is recorded refuses it.
        let reading = Reading {
            endpoint: id("http"),
            source: id("node"),
            truth: Truth::Holds,
            why: Why::Measured,
            value: Some(number),
            age_ms: ms(0),
        };
        assert!(serde_json::to_vec(&reading).is_err(), "{number} in a reading that is no evidence yet");
        assert!(canonical(&vec![reading]).is_err(), "{number} in a reading");
    }
}

/// A measurement may be a count of nanoseconds: its form has no point, and whoever reads it without knowing its type has an integer.
#[test]
fn the_form_of_a_double_is_the_form_of_what_it_reads_as() {
    for bits in
        NUMBERS.map(|(bits, _)| bits).into_iter().chain([0x43b0_0000_0000_0000, 0x43bb_c16d_674e_c800])
    {
        for bits in [bits, bits ^ (1 << 63), bits.wrapping_add(1), bits.wrapping_sub(1)] {
            let number = f64::from_bits(bits);
            let Ok(form) = canonical(&number) else { continue };
            let read: Value = serde_json::from_slice(&form).unwrap();
            assert_eq!(text(&read).as_bytes(), form, "{number:e}");
        }
    }
    for power in 53..=70 {
        let number = 2_f64.powi(power);
        let form = canonical(&number).unwrap();
        let read: Value = serde_json::from_slice(&form).unwrap();
        assert_eq!(text(&read).as_bytes(), form, "2^{power}");
    }
    // Their neighbours would be written with the digits of another number.
    for integer in [(1 << 53) + 1, 1_700_000_000_000_000_001, 1 << 63, u64::MAX] {
        let said = canonical(&integer).expect_err("no double of its own").to_string();
        assert!(said.contains("above 2^53"), "{said}");
    }
}

#[test]
fn what_has_no_canonical_form_says_why() {
    use std::collections::BTreeMap;

    let deep = (0..200).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    let says = |refused: Result<Vec<u8>, _>| {
        refused.map_err(|err: holdpoint_domain::digest::DigestError| err.to_string())
    };
    let cases = [
        (says(canonical(&((1_u64 << 53) + 1))), "above 2^53"),
        (says(canonical(&(-(1_i64 << 53) - 1))), "above 2^53"),
        (says(canonical(&BTreeMap::from([(1_u32, "one")]))), "not a string"),
        (says(canonical(&deep)), "within each other"),
        (says(canonical(&serde_json::value::RawValue::from_string("{ }".to_owned()).unwrap())), "raw JSON"),
    ];
    for (refused, why) in cases {
        let said = refused.expect_err(why);
        assert!(said.contains(why), "{said}");
    }
    assert_eq!(canonical(&(1_u64 << 53)).unwrap(), b"9007199254740992");
}

/// Values of ours have no such kinds yet. Who adds one must not get another form by it.
#[derive(serde::Serialize)]
struct Nothing;

#[derive(serde::Serialize)]
struct Pair(u16, i32);

struct Bytes(&'static [u8]);

impl serde::Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

#[test]
fn every_kind_of_value_has_its_form() {
    let cases = [
        (canonical(&true), "true"),
        (canonical(&i8::MIN), "-128"),
        (canonical(&i16::MIN), "-32768"),
        (canonical(&i32::MIN), "-2147483648"),
        (canonical(&0_i64), "0"),
        (canonical(&-1_i64), "-1"),
        (canonical(&u8::MAX), "255"),
        (canonical(&u16::MAX), "65535"),
        (canonical(&u32::MAX), "4294967295"),
        (canonical(&0_u64), "0"),
        (canonical(&0.5_f32), "0.5"),
        (canonical(&'"'), r#""\"""#),
        (canonical(&Bytes(b"\0a")), "[0,97]"),
        (canonical(&()), "null"),
        (canonical(&Nothing), "null"),
        (canonical(&Pair(1, -2)), "[1,-2]"),
        (canonical(&(1, "b")), r#"[1,"b"]"#),
        (canonical(&None::<u8>), "null"),
        (canonical(&Some(7)), "7"),
        (canonical(&Shape::Unit), r#""Unit""#),
        (canonical(&Shape::New(Box::new(Shape::Unit))), r#"{"New":"Unit"}"#),
        (canonical(&Shape::Tuple(0, Some('c'))), r#"{"Tuple":[0,"c"]}"#),
    ];
    for (got, want) in cases {
        assert_eq!(String::from_utf8(got.unwrap()).unwrap(), want);
    }
}

#[test]
fn every_character_of_ascii_has_its_form() {
    for c in '\0'..='\u{80}' {
        let text = format!("a{c}b{c}");
        assert_eq!(canonical(&text).unwrap(), serde_json_canonicalizer::to_vec(&text).unwrap(), "{c:?}");
    }
    assert_eq!(text(&Value::from("\u{8}\u{c}\u{1f}\u{7f}")), "\"\\b\\f\\u001f\u{7f}\"");
}

#[test]
fn values_stand_within_each_other_a_hundred_deep() {
    let deep = |levels: usize| (0..levels).fold(Value::Null, |inner, _| serde_json::json!([inner]));
    assert_eq!(text(&deep(100)), format!("{}null{}", "[".repeat(100), "]".repeat(100)));
    assert!(canonical(&deep(101)).is_err());
    // Beside each other they do not count.
    assert!(canonical(&vec![deep(99); 2]).is_ok());
}

/// Every shape that serde knows, so that none is written differently.
#[derive(Debug, Clone, serde::Serialize)]
enum Shape {
    Unit,
    New(Box<Shape>),
    Tuple(i64, Option<char>),
    Struct { zeta: Value, alpha: Vec<Shape>, middle: (u8, f32) },
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-(1_i64 << 53)..=1 << 53).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[\\u{0}-\\u{7f}\"\\\\]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        let name = prop_oneof![any::<String>(), "[\\u{0}-\\u{22}\\\\a-c\u{e000}-\u{10ffff}]{0,3}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        Just(Shape::Unit),
        (-(1_i64 << 53)..=1 << 53, any::<Option<char>>()).prop_map(|(int, c)| Shape::Tuple(int, c)),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let new = inner.clone().prop_map(|shape| Shape::New(Box::new(shape)));
        let of = (any_value(), prop::collection::vec(inner, 0..4), any::<u8>(), -1e30_f32..1e30);
        let of = of.prop_map(|(zeta, alpha, int, float)| Shape::Struct { zeta, alpha, middle: (int, float) });
        prop_oneof![new, of]
    })
}

proptest! {
    /// Our encoder against the library that it replaced for its speed.
    #[test]
    fn canonical_bytes_are_those_of_the_slow_reference(value in any_value(), shape in any_shape()) {
        prop_assert_eq!(canonical(&value).unwrap(), serde_json_canonicalizer::to_vec(&value).unwrap());
        prop_assert_eq!(canonical(&shape).unwrap(), serde_json_canonicalizer::to_vec(&shape).unwrap());
    }

    #[test]
    fn canonical_bytes_are_a_fixed_point(facts in any_facts()) {
        let bytes = canonical(&facts).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(&canonical(&value).unwrap(), &bytes);
        let read: holdpoint_domain::facts::Facts = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(&read, &facts);
        prop_assert_eq!(canonical(&read).unwrap(), bytes);
    }
}
