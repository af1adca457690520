//! Extension fields: names and texts, and the typed headers that are read from them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// Most extension fields of a command; no request of Apache's has more than 30.
pub const FIELDS_MAX: usize = 256;

/// Names and texts, each name once. In the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

/// Why a header cannot be read from fields.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// A field that must be there is not.
    #[error("the field {0} is missing")]
    Missing(&'static str),
    /// A number that is none.
    #[error("the field {name} is {text:?}, expected a number")]
    NotANumber {
        /// The field.
        name: &'static str,
        /// Its text.
        text: String,
    },
}

impl Fields {
    /// A field's text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
    }

    /// Sets a field, over the one with the same name. `false` if there are [`FIELDS_MAX`] others: it is not set then.
    #[must_use]
    pub fn set(&mut self, name: String, text: String) -> bool {
        if let Some((_, old)) = self.0.iter_mut().find(|(known, _)| *known == name) {
            *old = text;
            return true;
        }
        let has_room = self.0.len() < FIELDS_MAX;
        if has_room {
            self.0.push((name, text));
        }
        has_room
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, text) in self.iter() {
            map.serialize_entry(name, text)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        while let Some((name, Text(text))) = map.next_entry::<String, Text>()? {
            if text.is_some_and(|text| !fields.set(name, text)) {
                return Err(A::Error::custom(format_args!("more than {FIELDS_MAX} extension fields")));
            }
        }
        Ok(fields)
    }
}

/// A text; numbers and truth values of clients that do not quote them are taken as they are written, null is none.
struct Text(Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number, true, false or null")
            }
            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(Some(text.to_owned())))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Text, E> {
                Ok(Text(Some(value.to_string())))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Text, E> {
                Ok(Text(Some(value.to_string())))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Text, E> {
                Ok(Text(Some(value.to_string())))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Text, E> {
                Ok(Text(Some(value.to_string())))
            }
            fn visit_unit<E>(self) -> Result<Text, E> {
                Ok(Text(None))
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

/// A type that a field's text is read as and written from.
pub(crate) trait Field: Sized {
    /// # Errors
    /// [`FieldError`].
    fn read(fields: &Fields, name: &'static str) -> Result<Self, FieldError>;
    fn text(&self) -> Option<String>;
}

impl Field for String {
    fn read(fields: &Fields, name: &'static str) -> Result<Self, FieldError> {
        fields.get(name).map(str::to_owned).ok_or(FieldError::Missing(name))
    }

    fn text(&self) -> Option<String> {
        Some(self.clone())
    }
}

impl Field for Option<String> {
    fn read(fields: &Fields, name: &'static str) -> Result<Self, FieldError> {
        Ok(fields.get(name).map(str::to_owned))
    }

    fn text(&self) -> Option<String> {
        self.clone()
    }
}

impl Field for i64 {
    fn read(fields: &Fields, name: &'static str) -> Result<Self, FieldError> {
        Option::<Self>::read(fields, name)?.ok_or(FieldError::Missing(name))
    }

    fn text(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Field for Option<i64> {
    fn read(fields: &Fields, name: &'static str) -> Result<Self, FieldError> {
        let Some(text) = fields.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| FieldError::NotANumber { name, text: text.to_owned() })
    }

    fn text(&self) -> Option<String> {
        self.map(|number| number.to_string())
    }
}

/// As Java's `Boolean.parseBoolean`: whatever is not `true` is false.
impl Field for Option<bool> {
    fn read(fields: &Fields, name: &'static str) -> Result<Self, FieldError> {
        Ok(fields.get(name).map(|text| text.eq_ignore_ascii_case("true")))
    }

    fn text(&self) -> Option<String> {
        self.map(|flag| flag.to_string())
    }
}

/// Declares a header: a struct of fields, each with the name it has on the wire.
macro_rules! header {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $field:ident: $type:ty = $wire:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[$of])* pub $field: $type,)*
        }

        impl $name {
            /// Reads it from a command's fields; others are left alone.
            ///
            /// # Errors
            /// A field is missing or no number.
            pub fn of(fields: &$crate::Fields) -> Result<Self, $crate::FieldError> {
                Ok(Self { $($field: $crate::fields::Field::read(fields, $wire)?,)* })
            }

            /// The fields that say the same.
            #[must_use]
            pub fn to_fields(&self) -> $crate::Fields {
                let texts = [$(($wire, $crate::fields::Field::text(&self.$field)),)*];
                $crate::Fields::of(texts)
            }
        }
    };
}
pub(crate) use header;

impl Fields {
    /// Those that have a text; no header has as many as [`FIELDS_MAX`].
    pub(crate) fn of<const N: usize>(texts: [(&str, Option<String>); N]) -> Self {
        const { assert!(N <= FIELDS_MAX) };
        Self(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?))).collect())
    }
}
