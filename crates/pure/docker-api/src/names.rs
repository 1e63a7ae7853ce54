//! `/names`, beyond Docker: containers by name on their host.

wire! {
    /// Where names are served, and which there are.
    pub struct NamesInfo {
        /// They are served.
        enabled: bool = "Enabled",
        /// Addresses of the proxy.
        http: Vec<String> = "HTTP",
        /// Addresses of the proxy with TLS.
        https: Vec<String> = "HTTPS",
        /// Addresses of the resolver.
        dns: Vec<String> = "DNS",
        /// File of the authority's certificate.
        authority: String = "Authority",
        /// The certificate, PEM.
        certificate: String = "Certificate",
        /// What could not be had.
        problems: Vec<String> = "Problems",
        /// The names.
        names: Vec<NamedContainer> = "Names",
    }

    /// A name, and a container that it leads to.
    pub struct NamedContainer {
        /// With `.localhost`.
        name: String = "Name",
        /// The container's name.
        container: String = "Container",
        /// Where it is asked; empty if it cannot be.
        target: String = "Target",
        /// Why it cannot be asked.
        problem: String = "Problem" omitempty,
    }
}
