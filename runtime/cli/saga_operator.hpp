#pragma once

#include <eventcore/actors/saga_host.hpp>
#include <eventcore/runtime/internal/control_client.hpp>

#include <filesystem>
#include <memory>
#include <string>

namespace eventcore::cli {

/// Carries out an operator's decisions about the sagas of a journal. A journal has one writer: if a node has it, the node is asked, else
/// it is opened for writing, and what is decided there is carried out when the sagas run.
class saga_operator {
public:
  /// Errors besides the journal's: `locked`, if somebody writes the journal and takes no requests for five seconds; those of
  /// `control_client::connect`.
  static result<saga_operator> open(const std::filesystem::path& journal_dir);

  /// The process that is asked; 0: there is none.
  long node() const noexcept { return node_ ? node_->pid() : 0; }

  /// The journal, to read sagas from.
  result<journal_reader*> journal();

  /// Records the decision durably. The answer is the saga's phase then. Errors: `rejected` or `refused`, in the words of those who
  /// know the saga; `no_answer`.
  result<std::string> operate(const std::string& category, const std::string& id, saga_action action,
                              const std::string& why);

private:
  saga_operator() = default;

  std::filesystem::path journal_dir_;
  std::unique_ptr<internal::control_client> node_;
  std::unique_ptr<eventcore::journal> writer_; ///< if there is no node
  std::unique_ptr<journal_reader> reader_;
};

} // namespace eventcore::cli
