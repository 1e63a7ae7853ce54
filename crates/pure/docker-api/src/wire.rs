//! How Go's `encoding/json` reads and writes, for serde.

use std::collections::BTreeMap;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{IgnoredAny, SeqAccess, Visitor, value::SeqAccessDeserializer},
    ser::SerializeMap,
};

/// How Go prints its zero time.
pub const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// Declares wire structs. A field is `name: Type = "Name"`, with `omitempty` behind it as in Go's tags; `embed` stands
/// where Go embeds a struct. Every field reads `null` as its default.
macro_rules! wire {
    ($( $(#[$meta:meta])* pub struct $name:ident {
        $( $(#[$fmeta:meta])* $field:ident : $ty:ty = $wire:literal $($omit:ident)? ),* $(,)?
        $(; embed $(#[$emeta:meta])* $embed:ident : $ety:ty ;
            $( $(#[$tmeta:meta])* $tail:ident : $tty:ty = $twire:literal $($tomit:ident)? ),* $(,)? )?
    } )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $(
                $(#[$fmeta])*
                $(
                    #[doc = concat!(" (", stringify!($omit), ")")]
                    #[serde(skip_serializing_if = "crate::wire::Empty::is_empty")]
                )?
                #[serde(rename = $wire, deserialize_with = "crate::wire::nullable")]
                pub $field: $ty,
            )*
            $(
                $(#[$emeta])*
                #[serde(flatten)]
                pub $embed: $ety,
                $(
                    $(#[$tmeta])*
                    $(
                        #[doc = concat!(" (", stringify!($tomit), ")")]
                        #[serde(skip_serializing_if = "crate::wire::Empty::is_empty")]
                    )?
                    #[serde(rename = $twire, deserialize_with = "crate::wire::nullable")]
                    pub $tail: $tty,
                )*
            )?
        }
    )* };
}

/// Reads `null` as the type's default.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// What Go's `omitempty` leaves out.
pub(crate) trait Empty {
    /// Whether this is Go's zero value, or an empty list or map.
    fn is_empty(&self) -> bool;
}

impl<T> Empty for Option<T> {
    fn is_empty(&self) -> bool {
        self.is_none()
    }
}

impl<T> Empty for Vec<T> {
    fn is_empty(&self) -> bool {
        Vec::is_empty(self)
    }
}

impl<K, V> Empty for BTreeMap<K, V> {
    fn is_empty(&self) -> bool {
        BTreeMap::is_empty(self)
    }
}

impl Empty for StrSlice {
    fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(Vec::is_empty)
    }
}

macro_rules! empty_when_default {
    ($($ty:ty),*) => { $(impl Empty for $ty {
        fn is_empty(&self) -> bool {
            *self == <$ty>::default()
        }
    })* };
}
empty_when_default!(bool, i32, i64, u16, u32, u64, String);

/// Go's `struct{}`: written as `{}`, reads anything. The values of Docker's sets (`ExposedPorts`, `Volumes`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Nothing;

impl Serialize for Nothing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_map(Some(0))?.end()
    }
}

impl<'de> Deserialize<'de> for Nothing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Nothing)
    }
}

/// Go's `StrSlice`: a list that may also be written as one string. `None` is nil, written as `null`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StrSlice(pub Option<Vec<String>>);

impl From<Vec<String>> for StrSlice {
    fn from(list: Vec<String>) -> Self {
        StrSlice(Some(list))
    }
}

impl<'de> Deserialize<'de> for StrSlice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StringOrList;
        impl<'de> Visitor<'de> for StringOrList {
            type Value = StrSlice;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string or a list of strings")
            }
            fn visit_str<E>(self, text: &str) -> Result<StrSlice, E> {
                Ok(StrSlice(Some(vec![text.to_owned()])))
            }
            fn visit_unit<E>(self) -> Result<StrSlice, E> {
                Ok(StrSlice(None))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<StrSlice, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(|list| StrSlice(Some(list)))
            }
        }
        deserializer.deserialize_any(StringOrList)
    }
}
