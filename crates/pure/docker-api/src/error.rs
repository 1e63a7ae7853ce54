//! The body of every answer that is an error.

wire! {
    /// `{"message": …}`.
    pub struct ErrorResponse {
        /// What went wrong, for people.
        message: String = "message",
        /// What to do about it. Ours; Docker's clients do not look at it.
        hint: String = "hint" omitempty,
    }
}
