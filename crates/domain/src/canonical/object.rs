//! Objects: members are written as they come, and moved into order at the end.

use std::cmp::Ordering;

use serde::{Serialize, ser};

use super::{NotCanonical, Writer, text};

/// The members of the objects that are open, innermost last, and room to move them.
#[derive(Default)]
pub(super) struct Members {
    open: Vec<Member>,
    moved: Vec<u8>,
}

/// Where a member stands in the output: `"name":value,`.
#[derive(Clone, Copy)]
struct Member {
    start: usize,
    /// After the closing quote of the name.
    name_end: usize,
    end: usize,
    /// The name stands in the output as it is, in ASCII.
    plain: bool,
    /// The first eight bytes of a plain name, the first one highest, zeros after its end.
    first: u64,
}

impl Member {
    /// The order of two names; `out` is where they stand.
    fn order(&self, other: &Self, out: &[u8]) -> Ordering {
        if self.plain && other.plain {
            // No byte of a plain name is zero, so what is shorter comes first.
            return self.first.cmp(&other.first).then_with(|| self.unquoted(out).cmp(other.unquoted(out)));
        }
        text::order(self.quoted(out), other.quoted(out))
    }

    fn quoted<'o>(&self, out: &'o [u8]) -> &'o [u8] {
        out.get(self.start..self.name_end).unwrap_or_default()
    }

    /// The closing quote would count as a character of the shorter name.
    fn unquoted<'o>(&self, out: &'o [u8]) -> &'o [u8] {
        out.get(self.start.saturating_add(1)..self.name_end.saturating_sub(1)).unwrap_or_default()
    }
}

/// What an object is the value of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// A value in its own right.
    Value,
    /// An externally tagged variant, whose own braces are still open.
    Variant,
}

/// An object that is being written.
pub(super) struct Object<'w> {
    writer: &'w mut Writer,
    /// Where its first member begins.
    body: usize,
    /// How many members of outer objects come before its own.
    before: usize,
    of: Of,
}

impl<'w> Object<'w> {
    pub(super) fn open(writer: &'w mut Writer, of: Of) -> Result<Self, NotCanonical> {
        writer.open(b'{')?;
        let (body, before) = (writer.out.len(), writer.members.open.len());
        Ok(Self { writer, body, before, of })
    }

    /// Begins a member by its name.
    fn begin(&mut self, start: usize, plain: bool) {
        let name_end = self.writer.out.len();
        let mut member = Member { start, name_end, end: name_end, plain, first: 0 };
        let name = member.unquoted(&self.writer.out);
        let mut first = [0; 8];
        for (to, from) in first.iter_mut().zip(name) {
            *to = *from;
        }
        member.first = u64::from_be_bytes(first);
        self.writer.out.push(b':');
        self.writer.members.open.push(member);
    }

    /// Ends the member that was begun last. Inner objects have taken theirs off again.
    fn end_member(&mut self) {
        self.writer.out.push(b',');
        let end = self.writer.out.len();
        if let Some(member) = self.writer.members.open.last_mut() {
            member.end = end;
        }
    }

    fn close(self) -> Result<(), NotCanonical> {
        let Self { writer, body, before, of } = self;
        writer.sort(body, before)?;
        writer.members.open.truncate(before);
        writer.close(b'}');
        if of == Of::Variant {
            writer.close(b'}');
        }
        Ok(())
    }
}

impl Writer {
    /// Moves the members from `before` on, which begin at `body`, into the order of their names.
    fn sort(&mut self, body: usize, before: usize) -> Result<(), NotCanonical> {
        let Self { out, members: Members { open, moved }, .. } = self;
        let members = open.get_mut(before..).unwrap_or_default();
        let mut sorted = true;
        for pair in members.windows(2) {
            if let [one, next] = pair {
                sorted &= one.order(next, out) == Ordering::Less;
            }
        }
        if sorted {
            return Ok(());
        }
        members.sort_unstable_by(|one, other| one.order(other, out));
        for pair in members.windows(2) {
            if let [one, next] = pair
                && one.order(next, out) == Ordering::Equal
            {
                return Err(NotCanonical(format!(
                    "the name {} twice",
                    String::from_utf8_lossy(one.quoted(out))
                )));
            }
        }
        moved.clear();
        for member in members.iter() {
            moved.extend_from_slice(out.get(member.start..member.end).unwrap_or_default());
        }
        out.truncate(body);
        out.extend_from_slice(moved);
        Ok(())
    }
}

impl ser::SerializeStruct for Object<'_> {
    type Ok = ();
    type Error = NotCanonical;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), NotCanonical> {
        let start = self.writer.out.len();
        let plain = text::quoted(&mut self.writer.out, key);
        self.begin(start, plain);
        value.serialize(&mut *self.writer)?;
        self.end_member();
        Ok(())
    }

    fn end(self) -> Result<(), NotCanonical> {
        self.close()
    }
}

impl ser::SerializeStructVariant for Object<'_> {
    type Ok = ();
    type Error = NotCanonical;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), NotCanonical> {
        ser::SerializeStruct::serialize_field(self, key, value)
    }

    fn end(self) -> Result<(), NotCanonical> {
        self.close()
    }
}

impl ser::SerializeMap for Object<'_> {
    type Ok = ();
    type Error = NotCanonical;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), NotCanonical> {
        let start = self.writer.out.len();
        key.serialize(&mut *self.writer)?;
        // Whatever is no string (a number, say) has been written without quotes.
        if self.writer.out.get(start) != Some(&b'"') {
            return Err(NotCanonical("a name that is not a string".to_owned()));
        }
        let plain = text::is_all_plain(self.writer.out.get(start..).unwrap_or_default());
        self.begin(start, plain);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotCanonical> {
        value.serialize(&mut *self.writer)?;
        self.end_member();
        Ok(())
    }

    fn end(self) -> Result<(), NotCanonical> {
        self.close()
    }
}
