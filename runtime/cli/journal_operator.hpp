#pragma once

#include <eventcore/persistence/journal.hpp>
#include <eventcore/runtime/internal/control/control_client.hpp>

#include <filesystem>
#include <memory>

namespace eventcore::cli {

/// Carries out an operator's decisions about what is in a journal. A journal has one writer: if a node has it, the node is asked, else
/// it is opened for writing, and what is decided there is carried out when a node runs.
class journal_operator {
public:
  /// Errors besides the journal's: `locked`, if somebody writes the journal and takes no requests for five seconds; those of
  /// `control_client::connect`.
  static result<journal_operator> open(const std::filesystem::path& journal_dir);

  /// The process that is asked; 0: there is none.
  long node() const noexcept { return node_ ? node_->pid() : 0; }

  /// Asks the node. Errors: `refused`, in the words of the node; `no_answer`.
  result<nlohmann::json> ask(const nlohmann::json& request);

  /// To be written; null if a node has it.
  eventcore::journal* writer() noexcept { return writer_.get(); }

  /// To read from.
  result<journal_reader*> journal();

private:
  journal_operator() = default;

  std::filesystem::path journal_dir_;
  std::unique_ptr<internal::control_client> node_;
  std::unique_ptr<eventcore::journal> writer_;
  std::unique_ptr<journal_reader> reader_;
};

} // namespace eventcore::cli
