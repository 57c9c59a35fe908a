export class Search { constructor(studio) {} open() {} add() {} }
