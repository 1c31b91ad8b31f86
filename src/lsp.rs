//! `zs lsp`: a language server over standard input and output, on what `zs check` and `zs doc` know.

mod answer;
mod text;

use crate::check::{Analysis, Checker, Severity};
use crate::error::{Error, Result};
use crate::host::scripts::Source;
use lsp_server::{Connection, ExtractError, Message, Notification, Request, RequestId, Response};
use lsp_types::notification::{self as note, Notification as _};
use lsp_types::request::{self, Request as _};
use lsp_types::{
    CompletionOptions, Diagnostic, DiagnosticSeverity, HoverProviderCapability, NumberOrString, OneOf,
    PublishDiagnosticsParams, ServerCapabilities, SignatureHelpOptions, TextDocumentSyncCapability,
    TextDocumentSyncKind, Uri,
};
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;

/// A script as the editor has it.
struct Document {
    source: Source,
    /// Of the last text that could be parsed: what names mean while a line is half written.
    known: Analysis,
}

struct Server {
    checker: Checker,
    documents: HashMap<String, Document>,
    dirs: Vec<PathBuf>,
}

/// Serves until the editor says goodbye.
pub fn serve(dirs: &[PathBuf]) -> Result<()> {
    let (connection, threads) = Connection::stdio();
    let capabilities = ServerCapabilities {
        text_document_sync: Some(TextDocumentSyncCapability::Kind(TextDocumentSyncKind::FULL)),
        hover_provider: Some(HoverProviderCapability::Simple(true)),
        completion_provider: Some(CompletionOptions {
            trigger_characters: Some([".", ":", "{", "\"", " "].map(String::from).to_vec()),
            ..CompletionOptions::default()
        }),
        signature_help_provider: Some(SignatureHelpOptions {
            trigger_characters: Some(["(", ","].map(String::from).to_vec()),
            ..SignatureHelpOptions::default()
        }),
        definition_provider: Some(OneOf::Left(true)),
        document_symbol_provider: Some(OneOf::Left(true)),
        ..ServerCapabilities::default()
    };
    let broken = |e: &dyn std::fmt::Display| Error::failed(e.to_string()).op("lsp");
    connection.initialize(serde_json::to_value(capabilities).unwrap_or_default()).map_err(|e| broken(&e))?;
    let mut server = Server { checker: Checker::new(dirs), documents: HashMap::new(), dirs: dirs.to_vec() };
    for message in &connection.receiver {
        match message {
            Message::Request(request) => {
                if connection.handle_shutdown(&request).map_err(|e| broken(&e))? {
                    break;
                }
                let response = server.answer(request);
                let _ = connection.sender.send(Message::Response(response));
            }
            Message::Notification(said) => {
                if let Some(diagnostics) = server.hear(said) {
                    let said = Notification::new(note::PublishDiagnostics::METHOD.into(), diagnostics);
                    let _ = connection.sender.send(Message::Notification(said));
                }
            }
            Message::Response(_) => {}
        }
    }
    drop(connection);
    threads.join().map_err(|e| Error::from(e).op("lsp"))
}

impl Server {
    /// What has changed in the editor; the findings to be shown for it.
    fn hear(&mut self, said: Notification) -> Option<PublishDiagnosticsParams> {
        let said = match take::<note::DidOpenTextDocument>(said) {
            Ok(p) => return Some(self.update(p.text_document.uri, p.text_document.text)),
            Err(said) => said?,
        };
        let said = match take::<note::DidChangeTextDocument>(said) {
            // The whole text, as asked for.
            Ok(p) => return Some(self.update(p.text_document.uri, p.content_changes.into_iter().next_back()?.text)),
            Err(said) => said?,
        };
        let said = match take::<note::DidSaveTextDocument>(said) {
            // What it imports may be another by now.
            Ok(p) => {
                let text = self.documents.get(p.text_document.uri.as_str())?.source.text.clone();
                return Some(self.update(p.text_document.uri, text));
            }
            Err(said) => said?,
        };
        let closed = take::<note::DidCloseTextDocument>(said).ok()?.text_document.uri;
        self.documents.remove(closed.as_str());
        Some(PublishDiagnosticsParams { uri: closed, diagnostics: vec![], version: None })
    }

    fn update(&mut self, uri: Uri, text: String) -> PublishDiagnosticsParams {
        let path = text::path_of(uri.as_str());
        let dir = path.as_deref().and_then(|p| p.parent()).map(PathBuf::from);
        let name = path.map_or_else(|| uri.as_str().to_string(), |p| p.display().to_string());
        let source = Source { name, text, dir };
        let found = self.checker.check(&source);
        let diagnostics = found.findings.iter().map(|f| diagnostic(f, &source.text)).collect();
        let old = self.documents.remove(uri.as_str());
        let is_whole = found.findings.iter().all(|f| f.code != "syntax");
        let known = if is_whole { found } else { old.map(|d| d.known).unwrap_or_default() };
        self.documents.insert(uri.as_str().into(), Document { source, known });
        PublishDiagnosticsParams { uri, diagnostics, version: None }
    }

    fn answer(&self, request: Request) -> Response {
        let id = request.id.clone();
        let method = request.method.clone();
        let value = match method.as_str() {
            request::HoverRequest::METHOD => self.ask(request, |s, p: lsp_types::HoverParams| {
                let at = p.text_document_position_params;
                s.hover(at.text_document.uri.as_str(), at.position)
            }),
            request::Completion::METHOD => self.ask(request, |s, p: lsp_types::CompletionParams| {
                let at = p.text_document_position;
                s.completion(at.text_document.uri.as_str(), at.position)
            }),
            request::SignatureHelpRequest::METHOD => self.ask(request, |s, p: lsp_types::SignatureHelpParams| {
                let at = p.text_document_position_params;
                s.signature(at.text_document.uri.as_str(), at.position)
            }),
            request::GotoDefinition::METHOD => self.ask(request, |s, p: lsp_types::GotoDefinitionParams| {
                let at = p.text_document_position_params;
                s.definition(&at.text_document.uri, at.position)
            }),
            request::DocumentSymbolRequest::METHOD => {
                self.ask(request, |s, p: lsp_types::DocumentSymbolParams| s.symbols(p.text_document.uri.as_str()))
            }
            _ => return unknown(id, &method),
        };
        match value {
            Ok(value) => Response::new_ok(id, value),
            Err(why) => Response::new_err(id, lsp_server::ErrorCode::InvalidParams as i32, why),
        }
    }

    fn ask<P: serde::de::DeserializeOwned, T: serde::Serialize>(
        &self,
        request: Request,
        answer: impl Fn(&Server, P) -> Option<T>,
    ) -> Result<Value, String> {
        let params = serde_json::from_value(request.params).map_err(|e| e.to_string())?;
        serde_json::to_value(answer(self, params)).map_err(|e| e.to_string())
    }
}

/// The parameters of a notification of this kind; the notification again if it is another, nothing if it is broken.
fn take<N: note::Notification>(said: Notification) -> Result<N::Params, Option<Notification>> {
    said.extract(N::METHOD).map_err(|e| match e {
        ExtractError::MethodMismatch(said) => Some(said),
        ExtractError::JsonError { .. } => None,
    })
}

fn unknown(id: RequestId, method: &str) -> Response {
    Response::new_err(id, lsp_server::ErrorCode::MethodNotFound as i32, format!("zs does not answer {method}"))
}

fn diagnostic(f: &crate::check::Finding, text: &str) -> Diagnostic {
    let message = match &f.hint {
        Some(hint) => format!("{}\n{hint}", f.message),
        None => f.message.clone(),
    };
    let is_idle = f.code.starts_with("unused") || f.code == "unreachable";
    Diagnostic {
        range: text::range(text, f.line, f.column, f.end),
        severity: Some(match f.severity {
            Severity::Error => DiagnosticSeverity::ERROR,
            Severity::Warning => DiagnosticSeverity::WARNING,
        }),
        code: Some(NumberOrString::String(f.code.into())),
        source: Some("zs".into()),
        message,
        tags: is_idle.then(|| vec![lsp_types::DiagnosticTag::UNNECESSARY]),
        ..Diagnostic::default()
    }
}
