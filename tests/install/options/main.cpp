// Prints what a message says of itself by the installed options.

#include <eventcore/persistence/schema.hpp>

#include "renamed.pb.h"

#include <iostream>

int main() {
  const auto& type = *bank::MoneyDeposited::descriptor();
  std::cout << eventcore::schema_version_of(type) << ' ' << eventcore::former_names_of(type).at(0) << '\n';
}
