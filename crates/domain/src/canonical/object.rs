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
    fn begin(&mut self, start: usize) {
        let name_end = self.writer.out.len();
        self.writer.out.push(b':');
        self.writer.members.open.push(Member { start, name_end, end: name_end });
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
        let name = |member: &Member| out.get(member.start..member.name_end).unwrap_or_default();
        let mut sorted = true;
        for pair in members.windows(2) {
            if let [one, next] = pair {
                sorted &= text::order(name(one), name(next)) == Ordering::Less;
            }
        }
        if sorted {
            return Ok(());
        }
        members.sort_unstable_by(|one, other| text::order(name(one), name(other)));
        for pair in members.windows(2) {
            if let [one, next] = pair
                && text::order(name(one), name(next)) == Ordering::Equal
            {
                return Err(NotCanonical(format!("the name {} twice", String::from_utf8_lossy(name(one)))));
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
        text::quoted(&mut self.writer.out, key);
        self.begin(start);
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
        self.begin(start);
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
