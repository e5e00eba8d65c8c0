//! The console: pages in which people see what is asked of them, and decide well.
//!
//! Start at [`route::ROUTES`]: one table of every page and who may open it, from which the router is built. A request passes
//! [`admit`] (host, origin, session, policy), then its handler in [`pages`], which makes a view of what `holdpoint_app` reads and
//! renders a template of `templates/`. Everything is escaped there; text of others is made visible first ([`show`]).
//!
//! Never here: a decision by a GET or by a session alone, an inline script or style, a text of an agent outside of its marked box,
//! a resource of another site.

mod admit;
mod assets;
mod ceremony;
mod csrf;
mod form;
mod frame;
mod pages;
mod route;
mod session;
mod show;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{Router, http::StatusCode};
use holdpoint_adapters::{
    identity::oidc::RelyingParty,
    registration::{Registrar, RegistrationError},
};
use holdpoint_domain::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    config::Sitting,
    http::{Door, Problem, Settings, no_such_method},
    service::Service,
};

pub(crate) use session::{How, Sessions};

use ceremony::Ceremonies;

/// Most who wait for a page that takes long: far fewer than there are places for people, so that a halt always has one.
const MAX_QUEUE: usize = 8;

/// What the handlers of the console share.
pub(crate) struct Console {
    door: Arc<Door>,
    sessions: Arc<Sessions>,
    ceremonies: Ceremonies,
    registrar: Registrar,
    sitting: Sitting,
    /// Pages that take long to make: one at a time, so that whoever asks for many of them keeps one core busy and no more.
    heavy: Semaphore,
    /// Those who wait for their turn, and the one whose turn it is.
    queue: Semaphore,
    /// Of the provider at which people sign in, if there is one.
    party: Option<RelyingParty>,
}

impl Console {
    /// A console of a service, with places for requests of its own: whatever agents do, a person can still look.
    pub(crate) fn new(
        service: Arc<Service>,
        settings: Settings,
        sitting: Sitting,
        party: Option<RelyingParty>,
    ) -> Result<Arc<Self>, RegistrationError> {
        let ids = Arc::clone(&service.gate().ports.ids);
        let sessions = Arc::new(Sessions::new(Arc::clone(&ids), sitting.idle, sitting.absolute));
        let registrar = Registrar::new(sitting.origin.as_str())?;
        let door = Arc::new(Door::new(service, settings));
        let ceremonies = Ceremonies::new(ids);
        let (heavy, queue) = (Semaphore::new(1), Semaphore::new(MAX_QUEUE));
        Ok(Arc::new(Self { door, sessions, ceremonies, registrar, sitting, heavy, queue, party }))
    }

    /// The ceremonies under way.
    fn ceremonies(&self) -> &Ceremonies {
        &self.ceremonies
    }

    /// Waits for the turn to make a page that takes long.
    async fn turn(&self) -> Result<[SemaphorePermit<'_>; 2], Problem> {
        let waits = self.queue.try_acquire().map_err(|_| {
            let detail = "too many pages that take long are asked for at once";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-busy", detail, "try again in a moment")
        })?;
        let turn = self.heavy.acquire().await.map_err(|err| Problem::internal(&err))?;
        Ok([turn, waits])
    }

    /// Where browsers find the console.
    fn origin(&self) -> &str {
        self.sitting.origin.as_str()
    }

    /// The relying party that passkeys are registered for.
    fn rp_id(&self) -> &str {
        self.sitting.origin.host()
    }

    /// The sessions: whoever checked how somebody signs in opens one.
    pub(crate) fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    fn now(&self) -> Timestamp {
        self.door.service.gate().ports.clock.now()
    }
}

/// The pages of the console, and under them everything that is not one: the API.
pub(crate) fn router(console: &Arc<Console>, api: Router) -> Router {
    route::routes(console)
        .method_not_allowed_fallback(no_such_method)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(console), admit::pass))
        .with_state(Arc::clone(console))
        .fallback_service(api)
}
