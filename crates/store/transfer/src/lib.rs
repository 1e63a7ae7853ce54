//! Registry client: auth, mirrors, resume, parallel pulls
