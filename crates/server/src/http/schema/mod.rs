//! Schemas (JSON Schema 2020-12) of what the domain serialises, for the documentation of the API.
//!
//! The domain knows nothing of schemas, so its types are mirrored here, by shape alone: nothing is ever made of these types.
//! Words of closed lists are read from the domain itself ([`Words`]), and a test compares the fields of every mirror with
//! those of what it mirrors, so that neither can move without the other.
#![allow(dead_code, reason = "only the shape of these types is used")]

mod aftermath;
mod facts;
mod people;
mod plan;
mod reconcile;
#[cfg(test)]
mod tests;
mod words;
mod world;

use std::borrow::Cow;

use holdpoint_domain::id::MAX_ID_LEN;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

pub(super) use aftermath::*;
pub(super) use facts::*;
pub(super) use people::*;
pub(super) use plan::*;
pub(super) use reconcile::*;
pub(super) use words::Words;
pub(super) use world::*;

/// Makes the schema of a type, and puts what it refers to beside it.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// [`SchemaOf`] a type.
pub(super) fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// An identifier.
pub(super) struct Name;
/// A digest.
pub(super) struct Digest;
/// An Ed25519 public key.
pub(super) struct PublicKey;
/// An Ed25519 signature.
pub(super) struct Signature;
/// What a person signed with.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "a schema is read from its fields")]
pub(super) enum Proof {
    /// A key in a file.
    Key(Signature),
    /// A passkey: the assertion whose challenge is SHA-256 of the bytes to be signed.
    Passkey(Assertion),
}

/// What a passkey signed (Web Authentication Level 3), in base64url without padding.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code, reason = "a schema is read from its fields")]
pub(super) struct Assertion {
    /// Which passkey.
    credential: String,
    /// The authenticator's data, as it was signed.
    authenticator_data: String,
    /// The client's data: JSON.
    client_data: String,
    /// The signature.
    signature: String,
}

/// A point in time.
pub(super) struct Time;
/// A span.
pub(super) struct Span;
/// An entry of the ledger.
pub(super) struct Record;

impl JsonSchema for Name {
    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "maxLength": MAX_ID_LEN, "pattern": "^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$",
            "description": "An identifier.",
        })
    }
}

impl JsonSchema for Digest {
    fn schema_name() -> Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "pattern": "^sha256:[0-9a-f]{64}$",
            "description": "SHA-256, in hexadecimal.",
        })
    }
}

impl JsonSchema for PublicKey {
    fn schema_name() -> Cow<'static, str> {
        "PublicKey".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "pattern": "^[A-Za-z0-9+/]{43}$",
            "description": "An Ed25519 public key, in base64 without padding.",
        })
    }
}

impl JsonSchema for Signature {
    fn schema_name() -> Cow<'static, str> {
        "Signature".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "pattern": "^[A-Za-z0-9+/]{86}$",
            "description": "An Ed25519 signature, in base64 without padding.",
        })
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "integer", "minimum": 0, "maximum": holdpoint_domain::time::MAX_MS,
            "description": "Milliseconds since 1970-01-01T00:00:00Z.",
        })
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "integer", "minimum": 0, "maximum": holdpoint_domain::time::MAX_MS,
            "description": "A span in milliseconds.",
        })
    }
}

impl JsonSchema for Record {
    fn schema_name() -> Cow<'static, str> {
        "Record".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object", "additionalProperties": true,
            "description": "A record of the ledger, byte for byte as it is hashed; its fields stand in docs/ledger.md.",
        })
    }
}
