"""From candidate to production and back: who asked, who approved, what stands where.

made -> candidate (its gate passed) -> asked -> approved: production -> rolled back
                                          +---> rejected         deprecated, retired
"""
