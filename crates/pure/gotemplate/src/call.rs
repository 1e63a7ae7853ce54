//! Calls of functions and methods.

use serde_json::Value;

use crate::{
    error::ExecError,
    exec::{Exec, Place},
    funcs, print,
    tree::{Command, Operand},
    value::{Found, truth},
};

impl Exec<'_> {
    /// A method takes arguments; a value does not.
    pub(crate) fn method_call(
        &mut self,
        first: &Operand,
        (name, before): (&String, &[String]),
        rest: &[Operand],
        last: Option<Found>,
        dot: &Found,
    ) -> Result<Found, ExecError> {
        let base = Operand { fields: before.to_vec(), ..first.clone() };
        let receiver = self.operand(&base, dot)?;
        if receiver.root && self.options.method.is_some() {
            let mut args = Vec::with_capacity(rest.len() + 1);
            for operand in rest {
                args.push(self.argument(operand, dot)?.value.unwrap_or_default());
            }
            args.extend(last.map(|found| found.value.unwrap_or_default()));
            self.at = Place::of(first);
            if let Some(answer) = self.options.method.and_then(|method| method(name, &args)) {
                return answer.map(Found::of).map_err(|words| self.wrong(words));
            }
            if matches!(&receiver.value, Some(Value::Object(fields)) if fields.contains_key(name)) {
                // All fields of a row are methods in Go.
                let got = args.len();
                return Err(
                    self.wrong(format!("wrong number of args for {name}: want 0 got {got}"))
                );
            }
        }
        self.at = Place::of(first);
        if self.is_plain() && matches!(receiver.value, Some(Value::Object(_))) {
            return Err(self.wrong(format!("{name} is not a method but has arguments")));
        }
        self.field(receiver, name)?;
        Err(self.wrong(format!("{name} has arguments but cannot be invoked as function")))
    }

    fn argument(&mut self, operand: &Operand, dot: &Found) -> Result<Found, ExecError> {
        self.at = Place::of(operand);
        self.operand(operand, dot)
    }

    pub(crate) fn function(
        &mut self,
        name: &str,
        command: &Command,
        last: Option<Found>,
        dot: &Found,
    ) -> Result<Found, ExecError> {
        let rest = command.operands.get(1..).unwrap_or_default();
        let count = rest.len() + usize::from(last.is_some());
        funcs::check_count(name, count).map_err(|words| self.wrong(words))?;
        if let "and" | "or" = name {
            return self.short_circuit(name == "or", rest, last, dot);
        }
        let mut args = Vec::with_capacity(count);
        for (index, operand) in rest.iter().enumerate() {
            let found = self.argument(operand, dot)?;
            let text = self.template.text.get(operand.offset..operand.end).unwrap_or_default();
            let literal = operand.is_literal().then_some(text);
            // What a function made has a type of its own.
            let plain = self.is_plain() && found.key.is_some();
            funcs::check_type(name, index, found.value.as_ref(), literal, plain)
                .map_err(|words| self.wrong(words))?;
            args.push(found.value.unwrap_or_default());
        }
        if let Some(found) = last {
            let plain = self.is_plain() && found.key.is_some();
            funcs::check_type(name, args.len(), found.value.as_ref(), None, plain)
                .map_err(|words| self.wrong(words))?;
            args.push(found.value.unwrap_or_default());
        }
        let called = match name {
            "call" => Err(self.not_callable(rest, &args)),
            _ => funcs::call(name, &args, self.options),
        };
        called.map(Found::of).map_err(|words| {
            self.at = Place::command(command);
            self.wrong(format!("error calling {name}: {words}"))
        })
    }

    /// There are no functions among the values.
    fn not_callable(&self, operands: &[Operand], args: &[Value]) -> String {
        let text =
            operands.first().and_then(|first| self.template.text.get(first.offset..first.end));
        match args.first() {
            Some(Value::Null) | None => "call of nil".to_owned(),
            Some(value) => {
                format!("non-function {} of type {}", text.unwrap_or_default(), print::kind(value))
            }
        }
    }

    /// `and` and `or` evaluate no more than they need.
    fn short_circuit(
        &mut self,
        until: bool,
        operands: &[Operand],
        last: Option<Found>,
        dot: &Found,
    ) -> Result<Found, ExecError> {
        let mut found = Found::default();
        for operand in operands {
            found = self.argument(operand, dot)?;
            if truth(found.value.as_ref()) == until {
                return Ok(found);
            }
        }
        Ok(last.unwrap_or(found))
    }
}
