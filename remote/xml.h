// Reading XML that a stranger sent.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace coffer {

// Told what a document holds, in order. Names are "NAMESPACE|local", or "local" without a namespace. An error ends the
// reading and is returned by read_xml.
class XmlHandler {
 public:
  virtual ~XmlHandler() = default;
  virtual Result<void> start(std::string_view name) = 0;
  // `text` is the character data directly in this element, in one piece.
  virtual Result<void> end(std::string_view name, std::string_view text) = 0;
};

// Reads all of `document`. kCorrupt when it is not well-formed to its very end, has a document type declaration (so
// there are no entities to expand), more than 64 levels, or more than 64 KiB of text in one element. What the handler
// was told before such an error is worth nothing.
Result<void> read_xml(BytesView document, XmlHandler& handler);

}  // namespace coffer
