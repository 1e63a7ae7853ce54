//! Credentials for a registry: the body of `/auth` and the `X-Registry-Auth` header (base64url of this JSON).

wire! {
    /// Credentials for one registry.
    pub struct AuthConfig {
        /// User name.
        username: String = "username" omitempty,
        /// Password.
        password: String = "password" omitempty,
        /// `base64(username:password)`, as in `config.json`.
        auth: String = "auth" omitempty,
        /// No longer used.
        email: String = "email" omitempty,
        /// The registry.
        server_address: String = "serveraddress" omitempty,
        /// A token to get bearer tokens with, instead of a password.
        identity_token: String = "identitytoken" omitempty,
        /// A bearer token.
        registry_token: String = "registrytoken" omitempty,
    }

    /// Answer to `/auth`.
    pub struct AuthResponse {
        /// A token to keep instead of the password; may be empty.
        identity_token: String = "IdentityToken",
        /// `Login Succeeded`.
        status: String = "Status",
    }
}
