//! Go's text/template over JSON values, as docker --format uses it
