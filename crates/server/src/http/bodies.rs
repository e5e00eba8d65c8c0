//! The bodies of requests, each read as its endpoint reads it, without a gate around it: for `fuzz/properties`.

use holdpoint_domain::{
    approval::SignedStatement, change::ChangeStatement, halt::ResumeStatement, signed::Signed,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{body, problem::Problem, wire};

/// The body that an endpoint takes.
#[derive(Debug, Clone, Copy)]
pub struct RequestBody {
    /// The endpoint's path. Its method is `POST`.
    pub path: &'static str,
    read: fn(&[u8]) -> Result<Value, Problem>,
}

/// Why a body was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The HTTP status of the answer.
    pub status: u16,
    /// What the caller is told, before what is hidden in it is made visible.
    pub detail: String,
}

/// One for every endpoint that takes a body.
pub const ALL: &[RequestBody] = &[
    RequestBody { path: "/v1/plans", read: strict::<wire::NewPlan> },
    RequestBody { path: "/v1/evaluations", read: flat::<wire::NewEvaluation> },
    RequestBody { path: "/v1/holds/{id}/decisions", read: strict::<SignedStatement> },
    RequestBody { path: "/v1/plans/{id}/review", read: strict::<wire::NewReview> },
    RequestBody { path: "/v1/plans/{id}/resolution", read: strict::<wire::NewResolution> },
    RequestBody { path: "/v1/reconciliations", read: strict::<wire::NewReconciliation> },
    RequestBody { path: "/v1/changes", read: strict::<wire::NewChange> },
    RequestBody { path: "/v1/changes/{id}/decisions", read: strict::<Signed<ChangeStatement>> },
    RequestBody { path: "/v1/leases/{id}/revocation", read: strict::<wire::NewRevocation> },
    RequestBody { path: "/v1/halt", read: strict::<wire::NewHalt> },
    RequestBody { path: "/v1/resume", read: strict::<Signed<ResumeStatement>> },
    RequestBody { path: "/v1/probes", read: strict::<wire::NewProbe> },
    RequestBody { path: "/v1/invitations", read: strict::<wire::NewInvitation> },
    RequestBody { path: "/v1/sign-in-links", read: strict::<wire::NewSignInLink> },
    RequestBody { path: "/v1/delegations", read: strict::<wire::NewDelegation> },
    RequestBody { path: "/v1/introspection", read: strict::<wire::NewIntrospection> },
];

impl RequestBody {
    /// What the handler would get, written as JSON again; or what the caller would be answered.
    ///
    /// # Errors
    /// These bytes are refused.
    pub fn read(&self, bytes: &[u8]) -> Result<Value, Refused> {
        (self.read)(bytes).map_err(|problem| Refused {
            status: problem.status().as_u16(),
            detail: problem.detail().to_owned(),
        })
    }
}

fn strict<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<Value, Problem> {
    body::parse::<T>(bytes).and_then(|body| written(&body))
}

fn flat<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<Value, Problem> {
    body::parse_flat::<T>(bytes).and_then(|body| written(&body))
}

fn written<T: Serialize>(body: &T) -> Result<Value, Problem> {
    serde_json::to_value(body).map_err(|err| Problem::internal(&err))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::endpoint::ENDPOINTS;

    #[test]
    fn each_endpoint_with_a_body_is_here() {
        let takes: Vec<_> = ENDPOINTS.iter().filter(|row| row.body.is_some()).map(|row| row.path).collect();
        let here: Vec<_> = ALL.iter().map(|body| body.path).collect();
        assert_eq!(here, takes);
    }
    fn refused(path: &str, body: &str) -> Refused {
        let of = ALL.iter().find(|of| of.path == path).unwrap();
        of.read(body.as_bytes()).expect_err(body)
    }

    #[test]
    fn t30_a_list_is_no_object_and_an_object_is_no_word() {
        let cases = [
            ("/v1/evaluations", r#"["process.look","worker-1"]"#),
            ("/v1/evaluations", "\n[\"process.look\",\"worker-1\"]"),
            ("/v1/probes", r#"["process.hung","worker-1"]"#),
            ("/v1/resume", "[]"),
            ("/v1/halt", r#"["hard"]"#),
            ("/v1/halt", r#"{"reach":{"hard":null}}"#),
            ("/v1/plans", r#"{"steps":[["process.restart","worker-1",{}]],"trigger":"process.hung"}"#),
        ];
        for (path, body) in cases {
            assert_eq!(refused(path, body).status, 400, "{body}");
        }
    }
}
