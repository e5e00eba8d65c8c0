//! Canonical JSON (RFC 8785, JCS) in one pass: the bytes that are signed, digested and recorded.
//!
//! Every decision encodes its facts and its record, so that this is on the hot path: values are written once into one
//! buffer, and an object whose members came out of order has them moved into order when it ends. A general encoder that
//! keeps a tree of members takes some ten times as long; it stands beside this one in the tests, as the slow reference.
//!
//! Numbers are IEEE 754 doubles in JSON. An integer that a double cannot hold has no canonical form here: written as the
//! nearest double it would read as another number. Nor has one above 2^53, unless it has the digits with which a double is
//! written: then it is what the form of that double reads as, and has this form itself.

mod object;
mod text;

use std::{fmt, sync::Arc};

use serde::{Serialize, ser};

use object::{Members, Object};

/// Up to this magnitude every integer is a double of its own (RFC 8785 section 3.2.2.3, I-JSON).
const MAX_EXACT: u64 = 1 << 53;
/// Values within values; ours have fewer than twenty. A deeper one would not be read back (the parser ends at 128).
const MAX_DEPTH: usize = 100;

/// Why a value has no canonical form.
#[derive(Debug)]
pub(crate) struct NotCanonical(String);

impl fmt::Display for NotCanonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotCanonical {}

impl ser::Error for NotCanonical {
    fn custom<T: fmt::Display>(msg: T) -> Self {
        Self(msg.to_string())
    }
}

/// The name of a newtype whose bytes may be known already. Other formats write what is in it.
pub(crate) const KNOWN: &str = "$holdpoint::known";

/// The canonical bytes of a value, in which the first newtype of the name [`KNOWN`] has these canonical bytes.
pub(crate) fn to_vec<T: Serialize>(value: &T, known: Option<Arc<[u8]>>) -> Result<Vec<u8>, NotCanonical> {
    // A record of a decision has some two thousand bytes.
    let mut writer = Writer { out: Vec::with_capacity(3072), members: Members::default(), depth: 0, known };
    value.serialize(&mut writer)?;
    Ok(writer.out)
}

/// What was written so far.
struct Writer {
    out: Vec<u8>,
    members: Members,
    depth: usize,
    known: Option<Arc<[u8]>>,
}

impl Writer {
    fn open(&mut self, bracket: u8) -> Result<(), NotCanonical> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            return Err(NotCanonical(format!("more than {MAX_DEPTH} values within each other")));
        }
        self.out.push(bracket);
        Ok(())
    }

    fn close(&mut self, bracket: u8) {
        self.depth = self.depth.saturating_sub(1);
        // The comma after the last one makes room for the end.
        match self.out.last_mut() {
            Some(last) if *last == b',' => *last = bracket,
            Some(_) | None => self.out.push(bracket),
        }
    }

    fn unsigned(&mut self, number: u64) -> Result<(), NotCanonical> {
        let begin = self.out.len();
        text::decimal(&mut self.out, number);
        // A double may be written with just these digits: then they are what a reader of its form has, and read as no other number.
        if number > MAX_EXACT
            && self.out.get(begin..) != Some(ryu_js::Buffer::new().format_finite(number as f64).as_bytes())
        {
            return Err(NotCanonical(format!(
                "the integer {number} is above 2^53, and no double is written so"
            )));
        }
        Ok(())
    }

    fn signed(&mut self, number: i64) -> Result<(), NotCanonical> {
        if number < 0 {
            self.out.push(b'-');
        }
        self.unsigned(number.unsigned_abs())
    }

    /// An externally tagged variant: `{"variant":`, of which the caller writes the value.
    fn variant(&mut self, variant: &str) -> Result<(), NotCanonical> {
        self.open(b'{')?;
        text::quoted(&mut self.out, variant);
        self.out.push(b':');
        Ok(())
    }
}

impl<'w> ser::Serializer for &'w mut Writer {
    type Ok = ();
    type Error = NotCanonical;
    type SerializeSeq = Array<'w>;
    type SerializeTuple = Array<'w>;
    type SerializeTupleStruct = Array<'w>;
    type SerializeTupleVariant = Array<'w>;
    type SerializeMap = Object<'w>;
    type SerializeStruct = Object<'w>;
    type SerializeStructVariant = Object<'w>;

    fn serialize_bool(self, v: bool) -> Result<(), NotCanonical> {
        self.out.extend_from_slice(if v { b"true" } else { b"false" });
        Ok(())
    }

    fn serialize_i8(self, v: i8) -> Result<(), NotCanonical> {
        self.signed(v.into())
    }

    fn serialize_i16(self, v: i16) -> Result<(), NotCanonical> {
        self.signed(v.into())
    }

    fn serialize_i32(self, v: i32) -> Result<(), NotCanonical> {
        self.signed(v.into())
    }

    fn serialize_i64(self, v: i64) -> Result<(), NotCanonical> {
        self.signed(v)
    }

    fn serialize_u8(self, v: u8) -> Result<(), NotCanonical> {
        self.unsigned(v.into())
    }

    fn serialize_u16(self, v: u16) -> Result<(), NotCanonical> {
        self.unsigned(v.into())
    }

    fn serialize_u32(self, v: u32) -> Result<(), NotCanonical> {
        self.unsigned(v.into())
    }

    fn serialize_u64(self, v: u64) -> Result<(), NotCanonical> {
        self.unsigned(v)
    }

    fn serialize_f32(self, v: f32) -> Result<(), NotCanonical> {
        self.serialize_f64(v.into())
    }

    fn serialize_f64(self, v: f64) -> Result<(), NotCanonical> {
        if !v.is_finite() {
            return Err(NotCanonical(format!("the number {v} is not finite")));
        }
        // ECMAScript's form, which RFC 8785 section 3.2.2.3 asks for.
        self.out.extend_from_slice(ryu_js::Buffer::new().format_finite(v).as_bytes());
        Ok(())
    }

    fn serialize_char(self, v: char) -> Result<(), NotCanonical> {
        self.serialize_str(v.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, v: &str) -> Result<(), NotCanonical> {
        text::quoted(&mut self.out, v);
        Ok(())
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<(), NotCanonical> {
        self.collect_seq(v)
    }

    fn serialize_none(self) -> Result<(), NotCanonical> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NotCanonical> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), NotCanonical> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), NotCanonical> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), NotCanonical> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), NotCanonical> {
        if name == KNOWN
            && let Some(bytes) = self.known.take()
        {
            self.out.extend_from_slice(&bytes);
            return Ok(());
        }
        raw(name)?;
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), NotCanonical> {
        self.variant(variant)?;
        value.serialize(&mut *self)?;
        self.close(b'}');
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Array<'w>, NotCanonical> {
        self.open(b'[')?;
        Ok(Array { writer: self, of_variant: false })
    }

    fn serialize_tuple(self, len: usize) -> Result<Array<'w>, NotCanonical> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Array<'w>, NotCanonical> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Array<'w>, NotCanonical> {
        self.variant(variant)?;
        self.open(b'[')?;
        Ok(Array { writer: self, of_variant: true })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Object<'w>, NotCanonical> {
        Object::open(self, object::Of::Value)
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Object<'w>, NotCanonical> {
        raw(name)?;
        Object::open(self, object::Of::Value)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Object<'w>, NotCanonical> {
        self.variant(variant)?;
        Object::open(self, object::Of::Variant)
    }
}

/// JSON that is passed through unread may have any form.
fn raw(name: &str) -> Result<(), NotCanonical> {
    if name.starts_with("$serde_json::private") {
        return Err(NotCanonical("raw JSON has no canonical form".to_owned()));
    }
    Ok(())
}

/// An array that is being written.
struct Array<'w> {
    writer: &'w mut Writer,
    of_variant: bool,
}

impl Array<'_> {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotCanonical> {
        value.serialize(&mut *self.writer)?;
        self.writer.out.push(b',');
        Ok(())
    }

    fn close(self) {
        self.writer.close(b']');
        if self.of_variant {
            self.writer.close(b'}');
        }
    }
}

impl ser::SerializeSeq for Array<'_> {
    type Ok = ();
    type Error = NotCanonical;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotCanonical> {
        self.element(value)
    }

    fn end(self) -> Result<(), NotCanonical> {
        self.close();
        Ok(())
    }
}

impl ser::SerializeTuple for Array<'_> {
    type Ok = ();
    type Error = NotCanonical;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotCanonical> {
        self.element(value)
    }

    fn end(self) -> Result<(), NotCanonical> {
        self.close();
        Ok(())
    }
}

impl ser::SerializeTupleStruct for Array<'_> {
    type Ok = ();
    type Error = NotCanonical;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotCanonical> {
        self.element(value)
    }

    fn end(self) -> Result<(), NotCanonical> {
        self.close();
        Ok(())
    }
}

impl ser::SerializeTupleVariant for Array<'_> {
    type Ok = ();
    type Error = NotCanonical;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotCanonical> {
        self.element(value)
    }

    fn end(self) -> Result<(), NotCanonical> {
        self.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Known;

    impl Serialize for Known {
        fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_newtype_struct(KNOWN, "written")
        }
    }

    #[derive(Serialize)]
    struct Other(u8);

    #[test]
    fn known_bytes_stand_where_they_belong_and_once() {
        let value = (Other(1), Known, Known);
        let known: Arc<[u8]> = Arc::from(&b"[2]"[..]);
        assert_eq!(to_vec(&value, Some(known)).unwrap(), br#"[1,[2],"written"]"#);
        assert_eq!(to_vec(&value, None).unwrap(), br#"[1,"written","written"]"#);
    }
}
