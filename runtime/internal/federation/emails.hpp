#pragma once

#include <optional>
#include <string>
#include <string_view>

/// Finds e-mail addresses and replaces them. An address may be quoted (`"ann smith"@example.org`), international, without a dot
/// (`root@localhost`), or have `%40` for its `@`. Rather too much is taken for an address than too little.
namespace eventcore::internal {

/// What every address becomes.
inline constexpr std::string_view masked_email = "***@***.***";

/// In bytes that need not be text, an address has a domain with a dot that two letters follow.
enum class email_form { text, binary };

bool holds_email(std::string_view text, email_form form = email_form::text);

/// `text` with all its addresses masked. Nothing: it holds none.
std::optional<std::string> mask_emails(std::string_view text, email_form form = email_form::text);

} // namespace eventcore::internal
