//! `/events`.

use std::collections::BTreeMap;

wire! {
    /// One event. `status`, `id` and `from` repeat container and image events for clients older than 1.22.
    pub struct EventMessage {
        /// Same as `action`, for containers and images.
        status: String = "status" omitempty,
        /// Same as `actor.id`.
        id: String = "id" omitempty,
        /// The container's image.
        from: String = "from" omitempty,
        /// `container`, `image`, `network`, …
        kind: String = "Type",
        /// What happened.
        action: String = "Action",
        /// To whom.
        actor: EventActor = "Actor",
        /// `local` or `swarm`.
        scope: String = "scope" omitempty,
        /// Seconds since 1970.
        time: i64 = "time" omitempty,
        /// Nanoseconds since 1970.
        time_nano: i64 = "timeNano" omitempty,
    }

    /// Whom an event is about.
    pub struct EventActor {
        /// Id or name.
        id: String = "ID",
        /// Name, image, labels, …
        attributes: Option<BTreeMap<String, String>> = "Attributes",
    }
}
